"""HTML pages in tests: hostile texts, a strict parser, contrast of colours."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

EVIL = (
    "<script>alert('x')</script><img src=https://x.example/a.png onerror=\"x\">&amp;\ud800\x00\u202e${style}$style]]>"
    "{{ 7 * 7 }}{% include 'page.css' %}"
)


def with_evil(value: Any) -> Any:
    """Replaces every text that a table, a setting or a file name can contain by a hostile one."""
    if isinstance(value, dict):
        return {key: with_evil(part) for key, part in value.items()}
    if isinstance(value, list):
        return [with_evil(part) for part in value]
    return EVIL if isinstance(value, str) else value


class Balanced(HTMLParser):
    """Raises if tags are not balanced; collects attributes and visible text."""

    VOID = frozenset({"meta", "link", "br", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words += data + " "

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.seen if tag == name]


def check_self_contained(html: str) -> None:
    """Asserts that a page is well-formed, runs nothing, loads nothing, and that its links lead somewhere."""
    html.encode()
    parsed = Balanced(html)
    assert html.startswith("<!doctype html>")
    assert parsed.tags("html") == [{"lang": "en"}]
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert {"http-equiv": "Content-Security-Policy", "content": policy} in parsed.tags("meta")
    assert not {"script", "img", "iframe", "object", "form", "input", "base"} & {tag for tag, _ in parsed.seen}
    for tag, attributes in parsed.seen:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "style")], tag
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    anchors = {attributes.get("id") for _, attributes in parsed.seen}
    assert {str(link["href"])[1:] for link in parsed.tags("a")} <= anchors
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)
