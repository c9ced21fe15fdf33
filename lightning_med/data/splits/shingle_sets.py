"""Sets of shingle hashes, one a text, in flat arrays that may be mapped from disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lightning_med.data.splits.word_hashes import HASH_MASK, mix_bits

BLOCK = 1 << 13  # texts, or pairs of them, that are processed at once


@dataclass(frozen=True)
class ShingleSets:
    """The shingles of many texts.

    Attributes:
        values: Hashes of 48 bits, those of a text sorted and without repetition; may be mapped from a file.
        starts: `[texts]`, int64, where each text's hashes begin in `values`.
        sizes: `[texts]`, int64, number of hashes of each text.
    """

    values: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def from_sizes(cls, values: np.ndarray, sizes: np.ndarray) -> ShingleSets:
        """Returns the sets that lie end to end in `values`."""
        return cls(values, np.cumsum(sizes) - sizes, sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def select(self, texts: np.ndarray) -> ShingleSets:
        """Returns the sets of some texts; the hashes are not copied."""
        return ShingleSets(self.values, self.starts[texts], self.sizes[texts])

    def flatten(self) -> np.ndarray:
        """Returns a copy of all hashes, end to end."""
        firsts = np.cumsum(self.sizes) - self.sizes
        return np.asarray(self.values[np.arange(self.sizes.sum()) + np.repeat(self.starts - firsts, self.sizes)])

    def iterate_blocks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yields for each block of texts the number of the first, their sizes and their hashes end to end."""
        for first in range(0, len(self), BLOCK):
            block = self.select(np.arange(first, min(first + BLOCK, len(self))))
            yield first, block.sizes, block.flatten()


def hash_sets(sets: ShingleSets) -> np.ndarray:
    """`[texts]`, uint64: equal where two sets are; 0 for an empty one."""
    hashes, filled = np.zeros(len(sets), np.uint64), np.flatnonzero(sets.sizes)
    if len(filled):
        firsts = np.cumsum(sets.sizes) - sets.sizes
        hashes[filled] = np.add.reduceat(mix_bits(sets.flatten()), firsts[filled])
    return hashes


def salt_sets(sets: ShingleSets, salts: np.ndarray) -> ShingleSets:
    """Returns sets that can only be similar where their salts, `[texts]` uint64, are equal."""
    texts = np.repeat(np.arange(len(salts)), sets.sizes)
    values = mix_bits(sets.flatten() + salts[texts]) & HASH_MASK
    return ShingleSets.from_sizes(values[np.lexsort((values, texts))], sets.sizes)
