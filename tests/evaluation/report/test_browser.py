"""The page in a browser, where there is one: nothing overflows, axe-core finds no fault, the keyboard reaches all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_med.evaluation.report.html_report import write_html
from tests.evaluation.report.helpers import NAMES, make_examples, make_metrics

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"], timeout=60_000)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    metrics = make_metrics(NAMES[1:2])  # small: axe-core takes seconds for a long page
    metrics["differences"] = metrics["differences"][::9]
    for values in (*metrics["models"].values(), *metrics["baselines"].values()):
        for name in list(values)[3:-3]:
            del values[name]
    write_html(metrics, make_examples(NAMES[1:2])[8:12], path)
    return path.as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_axe_finds_no_fault_and_nothing_overflows(browser: Any, address: str, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    faults = [fault for fault in axe.Axe().run(page).response["violations"] if fault["impact"] != "minor"]
    assert not [(fault["id"], fault["impact"], fault["nodes"][0]["html"]) for fault in faults]
    page.close()


def test_the_keyboard_opens_what_is_closed_and_scrolls_what_is_wide(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 650, "height": 900})
    page.goto(address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#findings"
    page.focus(".example-row:not([open]) summary")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentElement.open")
    wide = "[...document.querySelectorAll('.scroll')].find(one => one.scrollWidth > one.clientWidth)"
    page.evaluate(f"window.wide = {wide}; window.wide.focus()")
    scrolls = "new Promise(done => window.wide.addEventListener('scroll', () => done(true)))"
    too_late = "new Promise(done => setTimeout(() => done(false), 10000))"  # `evaluate` itself waits without end
    page.evaluate(f"void (window.scrolled = Promise.race([{scrolls}, {too_late}]))")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("window.scrolled")
    page.close()
