"""Exact search for near-duplicates: all pairs of texts whose shingle sets have a Jaccard similarity of at least t.

Two sets of sizes n with Jaccard >= t share one of the first `n - ceil(t n) + 1` elements of each, in any order common
to all sets (the prefix filter of Chaudhuri, Ganti and Kaushik, ICDE 2006; Bayardo, Ma and Srikant, WWW 2007). With the
rarest shingles first, most prefixes hold nothing that another text has, so few pairs become candidates. Candidates are
compared by their complete sets. Nothing is estimated, unlike MinHash.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lightning_med.data.splits.shingle_sets import BLOCK, ShingleSets
from lightning_med.data.splits.word_hashes import HASH_BITS

CROWD = 512  # texts that share one of their rarest shingles and are all compared; in larger crowds each meets so many
# To sort prefixes, a text's number in its block, a hash's frequency and the hash cut to 40 bits share 64 bits.
_ROW_SHIFT, _RARITY_SHIFT, _CUT = np.uint64(51), np.uint64(40), np.uint64(8)
_MAX_FREQUENCY, _SHORT_MASK = np.uint32((1 << 11) - 1), np.uint64((1 << 40) - 1)
_MAX_COUNT_BITS = 26  # of the table of frequencies: 256 MiB
_PENDING = 1 << 24  # pairs, some of them repeated, held before they are merged


def find_similar_pairs(sets: ShingleSets, threshold: float) -> np.ndarray:
    """Finds all pairs of texts whose Jaccard similarity is at least the threshold.

    Exact unless more than `CROWD` texts share one of the rarest shingles of each: then each is compared with those
    nearest to it in size.

    Returns:
        `[pairs, 2]`, int64, the smaller number first, in order.
    """
    pairs = _find_candidates(*_select_prefixes(sets, threshold), sets.sizes, threshold)
    similar = [
        block[compute_jaccard(sets.select(block[:, 0]), sets.select(block[:, 1])) >= threshold - 1e-12]
        for block in _split_pairs(pairs)
    ]
    return np.concatenate(similar) if similar else np.empty((0, 2), np.int64)


def _select_prefixes(sets: ShingleSets, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Selects the hashes of each text's prefix, without those that no other text has; and the texts they belong to."""
    counts, slot = _count_hashes(sets)
    hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for first, sizes, values in sets.iterate_blocks():
        frequency = counts.take((values & slot).astype(np.intp))
        prefix = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1
        starts = np.cumsum(sizes) - sizes
        unique = np.add.reduceat((frequency == 1).view(np.int8), starts, dtype=np.int64)  # they come first
        shared = np.repeat(unique < prefix, sizes) & (frequency > 1)
        lengths = np.add.reduceat(shared.view(np.int8), starts, dtype=np.int64)
        rows = np.repeat(np.arange(len(sizes)), lengths)
        keyed = rows.astype(np.uint64) << _ROW_SHIFT  # one number an element sorts many times faster than three
        keyed |= np.minimum(frequency[shared], _MAX_FREQUENCY).astype(np.uint64) << _RARITY_SHIFT
        keyed = np.sort(keyed | values[shared] >> _CUT)
        rank = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        kept = rank < (prefix - unique)[rows]
        hashes.append((keyed & _SHORT_MASK)[kept])
        owners.append(rows[kept] + first)
    return np.concatenate(hashes), np.concatenate(owners)


def _count_hashes(sets: ShingleSets) -> tuple[np.ndarray, np.uint64]:
    """Counts the hashes by their last bits, so no count is too low; returns the counts and the mask of the bits."""
    total = int(sets.sizes.sum())
    bits = min(max(total, 1 << 10).bit_length(), _MAX_COUNT_BITS)
    slot = np.uint64((1 << bits) - 1)
    counts = np.zeros(1 << bits, np.uint32)
    for _, _, values in sets.iterate_blocks():
        np.add.at(counts, (values & slot).astype(np.intp), np.uint32(1))
    return counts, slot


def _find_candidates(hashes: np.ndarray, owners: np.ndarray, sizes: np.ndarray, threshold: float) -> np.ndarray:
    """Finds the pairs that share a hash and whose sizes allow the similarity."""
    order = np.lexsort((owners, sizes[owners], hashes))
    hashes, owners = hashes[order], owners[order]
    merged, pending = np.empty(0, np.int64), [np.empty(0, np.int64)]
    places = np.arange(len(hashes))
    for distance in range(1, CROWD):
        places = places[places + distance < len(hashes)]
        places = places[hashes[places] == hashes[places + distance]]
        if not len(places):
            break
        smaller, larger = owners[places], owners[places + distance]
        possible = sizes[smaller] >= threshold * sizes[larger] - 1e-9
        possible &= smaller != larger  # a text meets itself where two of its hashes agree in the bits that are left
        smaller, larger = smaller[possible], larger[possible]
        pending.append(np.minimum(smaller, larger) * len(sizes) + np.maximum(smaller, larger))
        if sum(map(len, pending)) > _PENDING:
            merged, pending = np.unique(np.concatenate([merged, *pending])), []
    merged = np.unique(np.concatenate([merged, *pending]))
    return np.stack([merged // max(len(sizes), 1), merged % max(len(sizes), 1)], axis=1)


def _split_pairs(pairs: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(pairs), BLOCK):
        yield pairs[start : start + BLOCK]


def compute_jaccard(left: ShingleSets, right: ShingleSets) -> np.ndarray:
    """`[sets]`, float64, the similarity of each set to the one in its place; at most 2 ** 16 of them."""
    numbers = np.arange(len(left), dtype=np.uint64) << HASH_BITS
    keyed = np.sort(np.concatenate([np.repeat(numbers, side.sizes) | side.flatten() for side in (left, right)]))
    common = keyed[1:][keyed[1:] == keyed[:-1]] >> HASH_BITS
    shared = np.bincount(common.astype(np.int64), minlength=len(left))
    return shared / (left.sizes + right.sizes - shared)
