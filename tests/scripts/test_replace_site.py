"""The site's folder is replaced as a whole; its pages and diagrams are refused where they cannot be shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lightning_med.utils.errors import InputError, RunError

Script = Callable[[str], ModuleType]
PAIR = 'flowchart TB\na["<b>A</b><br>one"]\nb["<b>B</b><br>two"]\n'


@pytest.fixture
def folders(script: Script, tmp_path: Path) -> tuple[Path, Path]:
    """A new site, and an old one in its place."""
    pytest.importorskip("zensical")
    for name in ("new", "place/site"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / f"{name[:3]}.html").touch()
    return tmp_path / "new", tmp_path / "place" / "site"


def list_names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_site_takes_the_place_of_another(script: Script, folders: tuple[Path, Path]) -> None:
    new, site = folders
    script("make_site").replace_folder(new, site)
    assert list_names(site.parent) == ["site", "site/new.html"]
    script("make_site").replace_folder(new, site.parent / "more" / "site")
    assert list_names(site.parent / "more") == ["site", "site/new.html"]


def test_a_link_to_a_site_stays(script: Script, folders: tuple[Path, Path], tmp_path: Path) -> None:
    new, site = folders
    (tmp_path / "link").symlink_to(site)
    script("make_site").replace_folder(new, tmp_path / "link")
    assert (tmp_path / "link").readlink() == site
    assert list_names(site.parent) == ["site", "site/new.html"]


@pytest.mark.parametrize("step", ["copytree", "rename"])
def test_the_old_site_stays_where_the_new_one_cannot_be_written(
    script: Script, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    new, site = folders
    rename = Path.rename

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def rename_once(path: Path, target: Path) -> Path:
        if (path / "new.html").exists():
            fail()
        return rename(path, target)

    monkeypatch.setattr(*((shutil, "copytree", fail) if step == "copytree" else (Path, "rename", rename_once)))
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        script("make_site").replace_folder(new, site)
    assert list_names(site.parent) == ["site", "site/pla.html"]


# ------------------------------------------------------------------ diagrams and links


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"{PAIR}a --> b\nstyle a fill:red\n", "style a fill:red"),
        (f"{PAIR}subgraph one\na --> b\nend\n", "subgraph one"),
        (f"{PAIR}a --> b\nb --> a\n", "cycle"),
        (f"{PAIR}a --> b\nb --> b\n", "cycle"),
        (f"{PAIR}a --> c\n", "cannot be drawn"),
        ("\n", "empty"),
    ],
)
def test_a_diagram_that_cannot_be_drawn_is_refused(script: Script, text: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        script("docs_site.flowchart").draw_flowchart(text)


def test_every_arrow_leads_downwards(script: Script) -> None:
    text = PAIR + 'c["<b>C</b><br>three"]\na --> b --> c\na --> c\n'
    assert script("docs_site.flowchart").draw_flowchart(text).count("marker-end") == 3


def test_a_link_out_of_the_repository_is_refused(script: Script, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("docs", "reference"):
        (root / name).mkdir(parents=True)
    for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY"):
        (root / f"{name}.md").touch()
    (tmp_path / "secret.txt").touch()
    (root / "docs" / "a.md").write_text("[x](../../secret.txt)\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"docs/a\.md: \.\./\.\./secret\.txt is outside the repository"):
        script("docs_site.pages").copy_pages(root, tmp_path / "built", root / "reference")
    assert not list((tmp_path / "built").rglob("secret.txt"))
