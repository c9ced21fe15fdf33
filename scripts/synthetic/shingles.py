"""How alike two questions are: the Jaccard index of their runs of three words."""

from __future__ import annotations

import re

_PUNCTUATION = re.compile(r"[^\w\s]|_")


def words(text: str, between: str = " ") -> list[str]:
    """The words of a text in lower case; `between` stands for a sign of punctuation."""
    return _PUNCTUATION.sub(between, text.lower()).split()


def shingles(text: str, between: str = " ") -> set[tuple[str, ...]]:
    """The runs of three words; of a text with fewer, all its words as one."""
    found = words(text, between)
    return set(zip(found, found[1:], found[2:], strict=False)) or {tuple(found)}


def jaccard(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> float:
    """The share that both have of what either has."""
    return len(left & right) / len(left | right)
