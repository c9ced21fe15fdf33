"""The consultations that every contender trains on: ids made once, what each token is for, and what a batch held."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.tokenization.encoder import ANSWER, PROMPT

IGNORED = -100  # the label of a token that is not learned


@dataclass(frozen=True)
class Share:
    """What a batch held of what must be computed; padding is no part of it.

    Attributes:
        rows: Consultations; parts of one where blocks cut it.
        useful: Tokens of questions and answers.
        tokens: With the prompt's.
        squares: Sum of the squares of the consultations' lengths; a token at place p of its own adds 2p + 1.
        answers: Tokens that are learned.
    """

    rows: float = 0
    useful: int = 0
    tokens: int = 0
    squares: int = 0
    answers: int = 0

    def __add__(self, other: Share) -> Share:
        return Share(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


class Rows:
    """Consultations end to end.

    Args:
        ids: `[tokens]`, integer.
        parts: `[tokens]`, uint8; see `lightning_med.data.tokens.Encoded`.
        starts: `[rows + 1]`, tokens before each consultation and after the last.
    """

    def __init__(self, ids: np.ndarray, parts: np.ndarray, starts: np.ndarray) -> None:
        self.ids, self.parts, self.starts = ids.astype(np.int64), parts, starts

    @classmethod
    def of(cls, store: TokenStore) -> Rows:
        """Of a prepared split."""
        numbers = range(len(store))
        ids = np.concatenate([store.input_ids(row) for row in numbers])
        parts = np.concatenate([store.parts(row) for row in numbers])
        return cls(ids, parts, np.concatenate([[0], np.cumsum(store.lengths)]))

    @classmethod
    def load(cls, path: Path) -> Rows:
        """What `save` wrote."""
        with np.load(path) as file:
            return cls(file["ids"], file["parts"], file["starts"])

    def save(self, path: Path) -> None:
        """Writes one file."""
        np.savez(path, ids=self.ids, parts=self.parts, starts=self.starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.ids[self.starts[row] : self.starts[row + 1]]

    @cached_property
    def lengths(self) -> np.ndarray:
        """`[rows]`, tokens of each."""
        return np.diff(self.starts)

    @cached_property
    def labels(self) -> np.ndarray:
        """`[tokens]`: the id where it belongs to an answer, else `IGNORED`."""
        return np.where(self.parts == ANSWER, self.ids, IGNORED)

    @cached_property
    def digest(self) -> str:
        """Equal for equal ids and labels in equal consultations."""
        found = sha256()
        for array in (self.ids, self.labels, self.starts.astype(np.int64)):
            found.update(array.tobytes())
        return found.hexdigest()

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        return {self[row].tobytes(): row for row in range(len(self))}

    @cached_property
    def _places(self) -> np.ndarray:
        return np.arange(len(self.ids)) - np.repeat(self.starts[:-1], self.lengths)

    @cached_property
    def _fractions(self) -> np.ndarray:
        return 1 / np.repeat(self.lengths, self.lengths)

    def number(self, ids: Iterable[int]) -> int:
        """The consultation with these ids.

        Raises:
            KeyError: There is none: a contender changed what it was given.
        """
        return self._numbers[np.asarray(ids, dtype=np.int64).tobytes()]

    def share(self, rows: Iterable[int]) -> Share:
        """Of whole consultations."""
        return self.share_of(np.concatenate([np.arange(self.starts[row], self.starts[row + 1]) for row in rows]))

    def share_of(self, tokens: np.ndarray) -> Share:
        """Of tokens by their places in `ids`, whole consultations or not."""
        parts, places = self.parts[tokens], self._places[tokens]
        # The very first token of a consultation is never predicted; it belongs to the prompt.
        answers, useful = int((parts == ANSWER).sum()), int((parts != PROMPT).sum())
        return Share(float(self._fractions[tokens].sum()), useful, len(tokens), int((2 * places + 1).sum()), answers)
