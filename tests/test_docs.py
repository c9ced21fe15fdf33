"""Links, files, commands and functions that the documentation names exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from lightning_med.cli.command import VERBS
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
FOLDERS = "|".join(("lightning_med", "tests", "scripts", "configs", "docs"))


def make_anchor(heading: str) -> str:
    """Returns the anchor that GitHub generates for a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def list_anchors(page: Path) -> set[str]:
    return {
        make_anchor(line.lstrip("#")) for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("#")
    }


def is_module(parts: list[str]) -> bool:
    path = ROOT.joinpath(*parts)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_relative_links_resolve(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for target in (target for target in targets if not re.match(r"https?:|mailto:", target)):
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        if anchor:
            assert anchor in list_anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_that_are_named_exist(page: Path) -> None:
    spans = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", page.read_text(encoding="utf-8"))
    for path in spans:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_functions_that_are_named_exist(page: Path) -> None:
    for name in re.findall(r"`(lightning_med(?:\.\w+)+)`", page.read_text(encoding="utf-8")):
        parts = name.split(".")
        count = len(parts)
        while not is_module(parts[:count]):
            count -= 1
        value = import_module(".".join(parts[:count]))
        for part in parts[count:]:
            value = getattr(value, part)  # fails if a page names something that no longer exists


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_that_are_shown_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    verbs = set(re.findall(r"(?:lightning-med|-m lightning_med) ([a-z]\w*)", text))
    assert verbs <= {*VERBS, "VERB"}
    targets = set(re.findall(r"^make ([\w-]+)|`make ([\w-]+)", text, re.M))
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert {name for pair in targets for name in pair if name} <= rules


def test_every_verb_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme[readme.index("## Commands") : readme.index("## From Python")]
    assert set(VERBS) <= set(re.findall(r"`(\w+)[` ]", table))
    assert len(readme.splitlines()) <= 150
