"""Search for cue words ("dear", "regards", "my name"), which precede private data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

NON_ASCII_LETTERS = "À-ÖØ-öø-ɏ̀-ͯͰ-ඦḀ-ỿ"
LETTERS = f"A-Za-z{NON_ASCII_LETTERS}"  # the content of a character class, the same to Python and to RE2


def lower_keeping_length(text: str) -> str:
    """Returns the text in lower case, every letter at its place: a letter whose lower case is longer stays."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(char if len(char.lower()) != 1 else char.lower() for char in text)


def find_cues(low: str, words: Iterable[str]) -> Iterator[int]:
    """Yields where the words begin in a lower-case text, within longer words too.

    `str.find` is ten times as fast as a regular expression here.
    """
    for word in words:
        start = low.find(word)
        while start >= 0:
            yield start
            start = low.find(word, start + 1)
