"""Similarity of two questions: the Jaccard index of their shingles of three words."""

from __future__ import annotations

import re

_PUNCTUATION = re.compile(r"[^\w\s]|_")


def split_words(text: str, replacement: str = " ") -> list[str]:
    """Splits a text into lower-case words; each punctuation character is replaced first."""
    return _PUNCTUATION.sub(replacement, text.lower()).split()


def make_shingles(text: str, replacement: str = " ") -> set[tuple[str, ...]]:
    """Returns all runs of three words of a text; if it has fewer words, one shingle of them all."""
    words = split_words(text, replacement)
    return set(zip(words, words[1:], words[2:], strict=False)) or {tuple(words)}


def compute_jaccard(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> float:
    """Returns the size of the intersection over that of the union, 0 to 1."""
    return len(left & right) / len(left | right)
