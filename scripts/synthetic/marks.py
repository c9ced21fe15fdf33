"""Marks around what is planted in a text, so that its position can be read off the finished text."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARKED = re.compile("\ue000(\\w+)\ue001([^\ue002]*)\ue002")


@dataclass(frozen=True)
class Span:
    """Something planted in a cell: `text == cell[start:end]`, in characters."""

    kind: str
    start: int
    end: int
    text: str


def mark(kind: str, text: str) -> str:
    """Encloses a text in private-use characters that occur in no other text, for `reveal`."""
    return f"\ue000{kind}\ue001{text}\ue002"


def reveal(marked: str) -> tuple[str, list[Span]]:
    """Returns the text without its marks, and the spans that were marked."""
    pieces: list[str] = []
    spans: list[Span] = []
    position = length = 0
    for match in _MARKED.finditer(marked):
        pieces += [marked[position : match.start()], match[2]]
        length += match.start() - position + len(match[2])
        spans.append(Span(match[1], length - len(match[2]), length, match[2]))
        position = match.end()
    return "".join([*pieces, marked[position:]]), spans
