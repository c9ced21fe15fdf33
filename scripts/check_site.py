"""Finds dead links in a built site: files and anchors that do not exist, and whatever a page would load from elsewhere.

    python scripts/check_site.py [FOLDER]

Exits with 1 where something was found. `make docs` runs it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

_LOADING = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "link": "href",
}
_HARMLESS = {"canonical", "next", "prev"}  # kinds of <link> that load nothing


@dataclass
class Page(HTMLParser):
    """The links, loaded files and anchors of a page."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        address = values.get(_LOADING.get(tag, ""), "")
        if address and not (tag == "link" and values.get("rel") in _HARMLESS):
            self.loaded.append(address)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])


@cache
def read_page(path: Path) -> Page:
    """Reads a page of a site."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def list_faults(folder: Path) -> list[str]:
    """Returns a line for each dead link and each file of another server, empty where there are none.

    Args:
        folder: Of the built site.
    """
    return [
        fault
        for path in sorted(folder.rglob("*.html"))
        for fault in _list_page_faults(folder.resolve(), path.resolve())
    ]


def _list_page_faults(folder: Path, path: Path) -> Iterator[str]:
    page, name = read_page(path), path.relative_to(folder)
    for address in page.loaded:
        if _is_elsewhere(address):
            yield f"{name}: loads {address}"
    for address in [*page.links, *page.loaded]:
        if not _is_elsewhere(address) and (fault := _find_fault(folder, path, address)):
            yield f"{name}: {address}: {fault}"


def _is_elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc or parts.scheme)


def _find_fault(folder: Path, path: Path, address: str) -> str:
    """Returns what is wrong with a link within the site, empty if nothing is."""
    file, anchor = urldefrag(address)
    file = unquote(file.partition("?")[0])
    base = folder if file.startswith("/") else path.parent
    target = (base / file.lstrip("/")).resolve() if file else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "no such file"
    if not target.is_relative_to(folder):
        return "outside the site"
    if anchor and target.suffix == ".html" and unquote(anchor) not in read_page(target).anchors:
        return "no such anchor"
    return ""


def main(argv: list[str] | None = None) -> int:
    """Prints what is wrong with a site; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("site"))
    folder = parser.parse_args(argv).folder
    if not (folder / "index.html").is_file():
        print(f"{folder} holds no site: make docs builds one.", file=sys.stderr)
        return 2
    faults = list_faults(folder)
    print(*faults, f"{folder}: {len(faults)} faults", sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
