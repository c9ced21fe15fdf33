"""The encoded consultations that every contender trains on, and the work that a batch of them requires."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.tokenization.consultation import ANSWER, PROMPT

IGNORED = -100  # the label of a token that is not learned


@dataclass(frozen=True)
class Work:
    """What must be computed for a batch, without padding.

    Attributes:
        rows: Consultations; fractions where blocks cut them.
        useful: Tokens of questions and answers.
        tokens: Tokens, those of the prompt included.
        squares: Sum of the squares of the consultations' lengths; the token at position p of its consultation adds
            2p + 1.
        answers: Tokens that are learned.
    """

    rows: float = 0
    useful: int = 0
    tokens: int = 0
    squares: int = 0
    answers: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


class Rows:
    """Encoded consultations, concatenated.

    Args:
        ids: `[tokens]`, integer.
        parts: `[tokens]`, uint8; see `lightning_med.tokenization.encoder.Encoded`.
        starts: `[rows + 1]`, integer: index of the first token of each consultation, and the number of tokens.
    """

    def __init__(self, ids: np.ndarray, parts: np.ndarray, starts: np.ndarray) -> None:
        self.ids, self.parts, self.starts = ids.astype(np.int64), parts, starts

    @classmethod
    def from_store(cls, store: TokenStore) -> Rows:
        """Reads the rows of a prepared split."""
        numbers = range(len(store))
        ids = np.concatenate([store.input_ids(row) for row in numbers])
        parts = np.concatenate([store.parts(row) for row in numbers])
        return cls(ids, parts, np.concatenate([[0], np.cumsum(store.lengths)]))

    @classmethod
    def load(cls, path: Path) -> Rows:
        """Reads what `save` wrote."""
        with np.load(path) as file:
            return cls(file["ids"], file["parts"], file["starts"])

    def save(self, path: Path) -> None:
        """Writes the rows to one file."""
        np.savez(path, ids=self.ids, parts=self.parts, starts=self.starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.ids[self.starts[row] : self.starts[row + 1]]

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each consultation, `[rows]`."""
        return np.diff(self.starts)

    @cached_property
    def labels(self) -> np.ndarray:
        """The token id where it belongs to an answer, else `IGNORED`; `[tokens]`."""
        return np.where(self.parts == ANSWER, self.ids, IGNORED)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over token ids, labels and starts."""
        digest = sha256()
        for array in (self.ids, self.labels, self.starts.astype(np.int64)):
            digest.update(array.tobytes())
        return digest.hexdigest()

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        return {self[row].tobytes(): row for row in range(len(self))}

    @cached_property
    def _positions(self) -> np.ndarray:
        return np.arange(len(self.ids)) - np.repeat(self.starts[:-1], self.lengths)

    @cached_property
    def _fractions(self) -> np.ndarray:
        return 1 / np.repeat(self.lengths, self.lengths)

    def find_row(self, ids: Iterable[int]) -> int:
        """Returns the number of the consultation with these token ids.

        Raises:
            KeyError: There is none; the contender has changed its input.
        """
        return self._numbers[np.asarray(ids, dtype=np.int64).tobytes()]

    def count_work(self, rows: Iterable[int]) -> Work:
        """Returns the work of complete consultations, given their numbers."""
        spans = [np.arange(self.starts[row], self.starts[row + 1]) for row in rows]
        return self.count_token_work(np.concatenate(spans))

    def count_token_work(self, tokens: np.ndarray) -> Work:
        """Returns the work of tokens, given their indices in `ids`; consultations may be cut."""
        parts, positions = self.parts[tokens], self._positions[tokens]
        # The first token of a consultation is never predicted; it belongs to the prompt.
        answers, useful = int((parts == ANSWER).sum()), int((parts != PROMPT).sum())
        return Work(float(self._fractions[tokens].sum()), useful, len(tokens), int((2 * positions + 1).sum()), answers)
