"""The reference of commands against what `--help` prints, and the pieces that the site is made of."""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lightning_med
import lightning_med.safety
from lightning_med.cli.command import VERBS, main
from lightning_med.utils.errors import InputError
from tests.conftest import ROOT

Script = Callable[[str], ModuleType]
OUTSIDE = {"readme.md", "changelog.md", "contributing.md", "security.md"}  # pages of the site that are beside docs/


@pytest.fixture(scope="module")
def reference(script: Script, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The text of each generated page, by its name."""
    folder = tmp_path_factory.mktemp("reference")
    assert script("make_reference").main(["--output", str(folder)]) == 0
    return {page.stem: page.read_text(encoding="utf-8") for page in folder.iterdir()}


def list_help_entries(text: str) -> Iterator[tuple[list[str], str]]:
    """Yields the names of each option of a printed help, and all of its text without white space."""
    for entry in re.split(r"\n(?=  \S)", text.partition("\noptions:\n")[2]):
        first = entry.splitlines()[0] if entry.strip() else ""
        if names := re.findall(r"(?:^  |, )(--?[A-Za-z][\w.+]*)", first):
            yield names, re.sub(r"\s|`", "", entry)


def test_every_option_of_every_help_is_in_the_reference(
    reference: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", reference["commands"], re.M | re.S))
    assert list(sections) == list(VERBS)
    for verb in VERBS:
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        entries = list(list_help_entries(capsys.readouterr().out))
        assert entries[0][0] == ["-h", "--help"], verb
        texts = reference["settings"] + sections[verb]  # of two with a name, the verb's own counts
        written = {
            name: entry
            for entry in re.split(r"\n(?=`)", texts)
            for name in re.findall(r"`(--?[^`]+)`", entry.partition("\n:")[0])
        }
        for names, text in entries:
            for name in names:
                assert name in written, (verb, name)
            if default := re.search(r"default:([^,()]+)[,)]", text):
                assert default[1] in re.sub(r"\s|`|\\", "", written[names[0]]), (verb, names)


def test_a_verb_of_tomorrow_and_its_own_verbs_are_described(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    make_reference = script("make_reference")
    parser = argparse.ArgumentParser(prog="lightning-med cache", description="Prepared data.")
    verbs = parser.add_subparsers()
    verbs.add_parser("list", help="what is there").add_argument(
        "--old_than", type=int, default=3, help="days <of> *age*"
    )
    monkeypatch.setitem(VERBS, "cache", ("nowhere", "prepared data"))
    text = make_reference.write_commands({"cache": parser})
    assert "## cache\n" in text
    assert "### cache list\n" in text
    assert "`--old_than`{ #cache-list--old_than } `OLD_THAN`\n:   days &lt;of&gt; \\*age\\*. Default: `3`." in text


def test_settings_are_listed_once_and_configs_with_their_purpose(reference: dict[str, str]) -> None:
    settings = reference["settings"]
    assert settings.count("`--data.source`{ #--data.source }") == 1
    for config in (ROOT / "configs").glob("*.yaml"):
        assert f"(../../configs/{config.name})" in settings
    assert "`--model.base`" not in reference["commands"]


def test_every_public_name_is_on_the_python_page() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    public = [
        f"{module.__name__}.{name}" for module in (lightning_med, lightning_med.safety) for name in module.__all__
    ]
    assert set(re.findall(r"^::: (\S+)$", page, re.M)) == {name for name in public if "__" not in name}


def list_pages(navigation: list[Any]) -> Iterator[str]:
    for entry in navigation:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else list_pages(value)


def test_every_page_is_in_the_navigation_once() -> None:
    config = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8"))
    pages = sorted(list_pages(config["project"]["nav"]))
    assert pages == sorted(
        {*(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")), *OUTSIDE}
    )


def test_links_hold_where_the_pages_are_in_the_site(script: Script, tmp_path: Path) -> None:
    pages = script("docs_site.pages")
    root = tmp_path / "root"
    (root / "docs" / "howto").mkdir(parents=True)
    (root / "configs").mkdir()
    (root / "configs" / "a.yaml").write_text("a: 1\n", encoding="utf-8")
    for name in pages.OUTSIDE:
        (root / f"{name}.md").write_text("[one](docs/one.md#part) `[code](docs/no.md)`\n", encoding="utf-8")
    (root / "docs" / "one.md").write_text(
        "[r](../README.md#x) [web](https://a.example) [here](#part)\n", encoding="utf-8"
    )
    (root / "docs" / "howto" / "two.md").write_text(
        "[c](../../configs/a.yaml)\n```sh\n[c](gone)\n```\n", encoding="utf-8"
    )
    (tmp_path / "reference").mkdir()
    site = tmp_path / "site"
    pages.copy_pages(root, site, tmp_path / "reference")
    assert (site / "readme.md").read_text(encoding="utf-8") == "[one](one.md#part) `[code](docs/no.md)`\n"
    assert (site / "one.md").read_text(encoding="utf-8") == "[r](readme.md#x) [web](https://a.example) [here](#part)\n"
    assert (site / "howto" / "two.md").read_text(
        encoding="utf-8"
    ) == "[c](../files/configs/a.yaml)\n```sh\n[c](gone)\n```\n"
    assert (site / "files" / "configs" / "a.yaml").is_file()
    (root / "docs" / "one.md").write_text("[gone](gone.md)\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"docs/one\.md: gone\.md does not exist"):
        pages.copy_pages(root, tmp_path / "other", tmp_path / "reference")


def test_a_flowchart_is_drawn_with_every_box_and_arrow(script: Script) -> None:
    draw = script("docs_site.flowchart").draw_flowchart
    boxes = "\n".join(f'{name}["<b>{name}</b><br>words & more"]' for name in "abcd")
    figure = draw(f"flowchart TB\n{boxes}\na --> b & c --> d\n")
    assert figure.count("<rect") == 4
    assert figure.count('marker-end="url(#tip)"') == 4
    assert "words &amp; more" in figure
    tops = [float(y) for y in re.findall(r'<rect x="[^"]+" y="([^"]+)"', figure)]
    assert tops[0] < tops[1] == tops[2] < tops[3]
    for text in ("sequenceDiagram\na->>b: hello", f"flowchart TB\n{boxes}\na --> e"):
        with pytest.raises(InputError, match="cannot be drawn"):
            draw(text)


def test_the_checker_finds_dead_links_and_what_comes_from_elsewhere(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = script("check_site")
    (tmp_path / "index.html").write_text(
        '<h2 id="a">A</h2><a href="b.html#b">b</a><a href="#a">a</a>', encoding="utf-8"
    )
    (tmp_path / "b.html").write_text(
        '<p id="b"></p><a href="https://web.example/">web</a><a href="./">up</a>', encoding="utf-8"
    )
    assert check.main([str(tmp_path)]) == 0
    capsys.readouterr()
    check.read_page.cache_clear()
    bad = '<a href="c.html">c</a><a href="b.html#c">b</a><script src="https://cdn.example/x.js"></script><img src="x.png">'
    (tmp_path / "index.html").write_text(bad, encoding="utf-8")
    assert check.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "index.html: loads https://cdn.example/x.js",
        "index.html: c.html: no such file",
        "index.html: b.html#c: no such anchor",
        "index.html: x.png: no such file",
    ]
    assert check.main([str(tmp_path / "nowhere")]) == 2
