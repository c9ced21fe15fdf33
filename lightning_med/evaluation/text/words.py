"""Words and runs of words of a text."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def split_words(text: str) -> list[str]:
    """Returns the words of a text, in lower case and without punctuation."""
    return _WORD.findall(text.lower())


def list_sequences(words: list[str], length: int) -> list[tuple[str, ...]]:
    """Returns all runs of so many words."""
    return list(zip(*(words[start:] for start in range(length)), strict=False))


def measure_repetition(words: list[str], length: int = 4) -> float:
    """Returns the share of a text's word sequences that occurred in it before; 0 where it is too short for one."""
    sequences = list_sequences(words, length)
    return 1 - len(set(sequences)) / len(sequences) if sequences else 0.0
