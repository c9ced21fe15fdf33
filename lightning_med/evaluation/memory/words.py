"""Words of texts as numbers, for comparisons of long lists of texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_med.evaluation.text.words import split_words


@dataclass(frozen=True)
class NumberedWords:
    """The words of all texts, one after the other.

    Attributes:
        ids: `[words]`, int32. A 0 stands for a word without number; one more ends each text.
        starts: `[texts + 1]`, int64: where each text begins.
    """

    ids: np.ndarray
    starts: np.ndarray

    def find_texts(self, positions: np.ndarray) -> np.ndarray:
        """Returns the number of the text of each position."""
        return np.searchsorted(self.starts, positions, side="right") - 1


def make_vocabulary(texts: Iterable[str]) -> dict[str, int]:
    """Returns the numbers of the words of some texts, from 1."""
    vocabulary: dict[str, int] = {}
    for text in texts:
        for word in split_words(text):
            vocabulary.setdefault(word, len(vocabulary) + 1)
    return vocabulary


def number_words(texts: Sequence[str], vocabulary: dict[str, int]) -> NumberedWords:
    """Returns the words of some texts as numbers of the vocabulary."""
    pieces = [np.array([vocabulary.get(word, 0) for word in split_words(text)] + [0], np.int32) for text in texts]
    starts = np.cumsum([0, *(len(piece) for piece in pieces)], dtype=np.int64)
    return NumberedWords(np.concatenate(pieces) if pieces else np.zeros(0, np.int32), starts)
