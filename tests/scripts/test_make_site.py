"""The built site: what its pages hold, and how a browser shows them from a folder, without a server or a network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lightning_med.cli.command import VERBS
from tests.conftest import ROOT

pytest.importorskip("zensical")
markdown = pytest.importorskip("markdown_it")
playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = pytest.mark.slow
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SHOWN = (
    "index",
    "howto/own_data",
    "architecture",
    "reference/commands",
    "reference/python",
    "benchmarks",
    "evaluation",
)
ELEMENTS = ("li", "tr", "h1", "h2", "h3", "strong", "em", "img", "pre")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, script: Callable[[str], ModuleType]) -> Path:
    """The site, built once; building fails where a link is dead or a page loads something from elsewhere."""
    folder: Path = tmp_path_factory.mktemp("built") / "site"
    assert script("make_site").main(["--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"], timeout=60_000)
        yield chromium
        chromium.close()


def read_article(page: Path) -> str:
    html = page.read_text(encoding="utf-8")
    return html[html.index("<article") : html.index("</article>")]


def test_lists_and_tables_are_what_github_makes_of_the_pages(site: Path) -> None:
    """A list right after a paragraph, for instance, is one on GitHub and was none in the site."""
    parser = markdown.MarkdownIt("commonmark").enable("table")
    pages = {page: page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    pages |= {page: Path(f"{page.stem.lower()}.html") for page in ROOT.glob("*.md")}
    for page, built in pages.items():
        text = page.read_text(encoding="utf-8")
        if "make docs" in text and "reference" in page.parts:
            continue  # filled with more than is on GitHub
        text = re.sub(r"^```mermaid.*?^```$", "", text, flags=re.M | re.S)  # a picture in the site
        texts = [
            re.sub(r"<!--.*?-->", "", html, flags=re.S) for html in (parser.render(text), read_article(site / built))
        ]
        for element in ELEMENTS:
            counts = [len(re.findall(rf"<{element}[ >]", html)) for html in texts]
            assert counts[0] == counts[1], (page.name, element, counts)


def test_reference_and_docstrings_are_in_the_site(site: Path) -> None:
    commands = read_article(site / "reference" / "commands.html")
    assert set(VERBS) <= set(re.findall(r'<h2 id="(\w+)"', commands))
    assert '<code id="--data.source">--data.source</code>' in read_article(site / "reference" / "settings.html")
    python = read_article(site / "reference" / "python.html")
    assert "Loads an exported model, on the GPU if there is one." in python
    assert ":::" not in python
    assert "Raises:" not in re.sub(r"<[^>]+>Raises:<", "", python)  # a section, not words of the text


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_fit_and_have_no_serious_fault(site: Path, browser: Any, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, requests, errors = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    found = []
    for name in SHOWN:
        page.goto((site / f"{name}.html").as_uri(), wait_until="load")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
        faults = [one for one in axe.Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
        found += [(name, one["id"], node["html"][:200]) for one in faults for node in one["nodes"]]
    assert not found
    assert not errors
    assert not [address for address in requests if not address.startswith(("file:", "data:", "blob:", "about:"))]
    context.close()


def test_search_works_from_a_folder(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((site / "howto" / "gpu.html").as_uri(), wait_until="load")
    page.keyboard.press("Control+k")
    page.keyboard.type("gradient_checkpointing", delay=20)
    result = page.locator("a[href*='adapters.html']").filter(has_text="memory").last
    result.wait_for(timeout=20_000)
    page.close()
