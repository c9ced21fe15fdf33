"""The pages that the site is built from: docs/ and the pages beside it, with links that hold within the site."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from docs_site.flowchart import draw_flowchart
from lightning_med.utils.errors import InputError

# Pages beside docs/, and their names in the site; zensical wants lower case there.
OUTSIDE = {name: f"{name.lower()}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")}
FILES = "files"  # where other files that pages link to are in the site
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)")
_FRAME = re.compile(r"^In the repository this page is only a frame:[^\n]*\n", re.M)  # here it is filled
_CODE = re.compile(r"^ *(`{3,}).*?^ *\1`*$|`[^`\n]+`", re.S | re.M)
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.S | re.M)


def copy_pages(root: Path, folder: Path, reference: Path) -> None:
    """Copies docs/, the pages beside it and the reference into a folder.

    Args:
        root: Of the repository.
        folder: A new one, of what zensical reads.
        reference: With the generated pages, which take the places of their frames in docs/reference.

    Raises:
        InputError: A link leads nowhere or out of the repository, or a diagram cannot be drawn.
    """
    shutil.copytree(root / "docs", folder)
    shutil.copytree(reference, folder / "reference", dirs_exist_ok=True)
    sources = {folder / page: root / f"{name}.md" for name, page in OUTSIDE.items()}
    for copy, source in sources.items():
        shutil.copy(source, copy)
    for page in sorted(folder.rglob("*.md")):
        source = sources.get(page, root / "docs" / page.relative_to(folder))
        text = _FRAME.sub("", page.read_text(encoding="utf-8"))
        text = _DIAGRAM.sub(lambda match: draw_flowchart(match[1]), text)
        page.write_text(_rewrite_links(text, source, page, root, folder), encoding="utf-8")


def _rewrite_links(text: str, source: Path, page: Path, root: Path, folder: Path) -> str:
    """Makes a page's links lead to their targets in the site, where it is itself in another place than in docs/."""

    def rewrite(match: re.Match[str]) -> str:
        target = (source.parent / match[0]).resolve()
        if not target.exists():
            raise InputError(f"{source.relative_to(root)}: {match[0]} does not exist.", "Mend the link.")
        if not target.is_relative_to(root):
            what = f"{source.relative_to(root)}: {match[0]} is outside the repository."
            raise InputError(what, "Link to a file of the repository, or to an address.")
        return os.path.relpath(_place(target, root, folder), page.parent)

    spans = [match.span() for match in _CODE.finditer(text)]
    parts, end = [], 0
    for start, stop in [*spans, (len(text), len(text))]:
        parts += [_LINK.sub(rewrite, text[end:start]), text[start:stop]]
        end = stop
    return "".join(parts)


def _place(target: Path, root: Path, folder: Path) -> Path:
    """Returns where a file of the repository is in the site's folder; copies it there if it is not among the pages."""
    name = target.relative_to(root)
    if name.parts[0] == "docs":
        return folder.joinpath(*name.parts[1:])
    if len(name.parts) == 1 and target.suffix == ".md" and target.stem in OUTSIDE:
        return folder / OUTSIDE[target.stem]
    if target.is_dir():
        raise InputError(f"A page links to the folder {name}.", "Name it as code: only files are in the site.")
    copy = folder / FILES / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(target, copy)
    return copy
