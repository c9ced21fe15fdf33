"""Near-duplicates between two collections of texts, of which only one is held: as sets of shingle hashes.

The search is that of `near_duplicates.py`. The common order of the prefix filter is by how many of the held texts have
a shingle; those that none has come first and are passed over. So the other collection may come in any number of parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from lightning_med.data.splits.near_duplicates import CROWD, compute_jaccard
from lightning_med.data.splits.row_groups import JACCARD
from lightning_med.data.splits.shingle_sets import BLOCK, ShingleSets, hash_sets
from lightning_med.data.splits.word_hashes import WordHashes

_RANK_SHIFT = np.uint64(24)  # a shingle's rank in the order and a set's size share 64 bits
_MAX_SIZE = (1 << 24) - 1
_MAX_CANDIDATES = 1 << 21  # pairs held at once, some of them repeated


class ShingleIndex:
    """Finds which of its texts are nearly equal to given ones.

    Args:
        sets: Of its texts; kept.
        threshold: Jaccard similarity from which two texts are nearly equal.
    """

    def __init__(self, sets: ShingleSets, threshold: float = JACCARD) -> None:
        self._sets, self._threshold = sets, threshold
        values = sets.flatten()
        self._hashes, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        self._ranks = np.empty(len(counts), np.int64)  # rare ones first
        self._ranks[np.argsort(counts, kind="stable")] = np.arange(len(counts))
        owners = np.repeat(np.arange(len(sets)), sets.sizes)
        owners, ranks = self._select_prefixes(sets.sizes, owners, self._ranks[inverse])
        keys = _join_keys(ranks, sets.sizes[owners])
        order = np.argsort(keys, kind="stable")
        self._keys, self._owners = keys[order], owners[order]
        whole = hash_sets(sets)
        self._equal = np.flatnonzero(sets.sizes)[np.argsort(whole[sets.sizes > 0], kind="stable")]
        self._whole = whole[self._equal]

    def find(self, sets: ShingleSets) -> np.ndarray:
        """Finds all pairs of a given text and one of the index whose similarity reaches the threshold.

        Equal sets are always found. So are the others, unless more than `CROWD` texts of the index, of about its size,
        share one of a text's rarest shingles: then it is compared with those nearest to it in size.

        Returns:
            `[pairs, 2]`, int64, the number of the given text and that of the index, in order.
        """
        found = [np.empty((0, 2), np.int64)]
        for first in range(0, len(sets), BLOCK):
            block = sets.select(np.arange(first, min(first + BLOCK, len(sets))))
            for pairs in self._find_candidates(block):
                for start in range(0, len(pairs), BLOCK):
                    part = pairs[start : start + BLOCK]
                    likeness = compute_jaccard(block.select(part[:, 0]), self._sets.select(part[:, 1]))
                    found.append(part[likeness >= self._threshold - 1e-12] + [first, 0])
        return np.unique(np.concatenate(found), axis=0)

    def _find_candidates(self, sets: ShingleSets) -> Iterator[np.ndarray]:
        """Yields pairs that are equal, or share an element of their prefixes and are of sizes that allow it."""
        filled, whole = np.flatnonzero(sets.sizes), hash_sets(sets)[sets.sizes > 0]
        starts, ends = (np.searchsorted(self._whole, whole, side) for side in ("left", "right"))
        yield from self._make_pairs(filled, starts, ends, self._equal)
        texts, ranks = self._look_up(sets)
        texts, ranks = self._select_prefixes(sets.sizes, texts, ranks)
        sizes = sets.sizes[texts]
        low = np.ceil(self._threshold * sizes - 1e-9).astype(np.int64)
        high = np.floor(sizes / self._threshold + 1e-9).astype(np.int64)
        starts = np.searchsorted(self._keys, _join_keys(ranks, low))
        ends = np.searchsorted(self._keys, _join_keys(ranks, high), "right")
        crowded = ends - starts > CROWD
        nearest = np.searchsorted(self._keys, _join_keys(ranks, sizes)) - CROWD // 2
        starts = np.where(crowded, np.clip(nearest, starts, ends - CROWD), starts)
        ends = np.where(crowded, starts + CROWD, ends)
        yield from self._make_pairs(texts, starts, ends, self._owners)

    def _make_pairs(
        self, texts: np.ndarray, starts: np.ndarray, ends: np.ndarray, owners: np.ndarray
    ) -> Iterator[np.ndarray]:
        """Pairs each text with the owners from its start to its end, some at a time."""
        counts = ends - starts
        parts = np.cumsum(counts) // _MAX_CANDIDATES
        for part in np.unique(parts[counts > 0]):
            chosen = np.flatnonzero((parts == part) & (counts > 0))
            lengths = counts[chosen]
            step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            met = owners[np.repeat(starts[chosen], lengths) + step]
            merged = np.unique(np.repeat(texts[chosen], lengths) * len(self._sets) + met)
            yield np.stack([merged // len(self._sets), merged % len(self._sets)], axis=1)

    def _look_up(self, sets: ShingleSets) -> tuple[np.ndarray, np.ndarray]:
        """Returns each shingle that the index has: the number of its text, and its rank."""
        values, texts = sets.flatten(), np.repeat(np.arange(len(sets)), sets.sizes)
        if not len(self._hashes):
            return texts[:0], texts[:0]
        places = np.minimum(np.searchsorted(self._hashes, values), len(self._hashes) - 1)
        known = self._hashes[places] == values
        return texts[known], self._ranks[places[known]]

    def _select_prefixes(
        self, sizes: np.ndarray, texts: np.ndarray, ranks: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Selects of each text's shingles those of its prefix; shingles that are not given come first in the order."""
        keyed = np.sort(texts << 32 | ranks)
        texts, ranks = keyed >> 32, keyed & ((1 << 32) - 1)
        given = np.bincount(texts, minlength=len(sizes))
        prefix = sizes - np.ceil(self._threshold * sizes - 1e-9).astype(np.int64) + 1
        place = np.arange(len(texts)) - np.repeat(np.cumsum(given) - given, given)
        kept = place < (prefix - (sizes - given))[texts]
        return texts[kept], ranks[kept]


def find_near_duplicates(
    ours: Sequence[str], theirs: Sequence[str], threshold: float = JACCARD
) -> list[tuple[int, int]]:
    """Finds all pairs of nearly equal texts between two collections.

    Two texts are nearly equal where their sets of three-word shingles, without case and punctuation, have a Jaccard
    similarity of at least the threshold. Texts without a word equal none.

    Returns:
        Pairs of the number of a text of `ours` and of one of `theirs`, in order.
    """
    index = ShingleIndex(make_shingle_sets(theirs)[0], threshold)
    return [(int(one), int(other)) for one, other in index.find(make_shingle_sets(ours)[0])]


def make_shingle_sets(texts: Sequence[str | None]) -> tuple[ShingleSets, np.ndarray]:
    """Returns the shingles of texts, and `[texts]`, int64, their numbers of words; a blank or null text has neither."""
    values, sizes, words = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, len(texts), BLOCK):
        block = [text or "" for text in texts[start : start + BLOCK]]
        blank = np.array([not text.strip() for text in block])
        hashes = WordHashes.from_texts(pa.array(block, pa.large_string()))
        shingles, lengths = hashes.hash_shingles()
        values.append(shingles[np.repeat(~blank, lengths)])
        sizes.append(np.where(blank, 0, lengths))
        words.append(np.where(blank, 0, hashes.lengths))
    return ShingleSets.from_sizes(np.concatenate(values), np.concatenate(sizes)), np.concatenate(words)


def _join_keys(ranks: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """`[shingles]`, uint64, by rank, then by the size of the set."""
    return ranks.astype(np.uint64) << _RANK_SHIFT | np.minimum(sizes, _MAX_SIZE).astype(np.uint64)
