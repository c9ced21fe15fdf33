"""Marks around what is planted in a text, so that its place is known however the text around it grows."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARKED = re.compile("\ue000(\\w+)\ue001([^\ue002]*)\ue002")


@dataclass(frozen=True)
class Span:
    """What is planted in a cell: `text == cell[start:end]`, in characters."""

    kind: str
    start: int
    end: int
    text: str


def mark(kind: str, text: str) -> str:
    """The text between signs that occur in no text, for `reveal`."""
    return f"\ue000{kind}\ue001{text}\ue002"


def reveal(marked: str) -> tuple[str, list[Span]]:
    """The text without its marks, and where they were."""
    pieces: list[str] = []
    spans: list[Span] = []
    at = length = 0
    for found in _MARKED.finditer(marked):
        pieces += [marked[at : found.start()], found[2]]
        length += found.start() - at + len(found[2])
        spans.append(Span(found[1], length - len(found[2]), length, found[2]))
        at = found.end()
    return "".join([*pieces, marked[at:]]), spans
