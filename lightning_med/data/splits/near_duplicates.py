"""Near-duplicate texts, found exactly: every pair whose sets of word shingles have a Jaccard similarity of at least t.

Two sets with Jaccard >= t share one of the first `n - ceil(t n) + 1` elements of each, in any order common to all sets
(the prefix filter of Chaudhuri, Ganti and Kaushik, ICDE 2006; Bayardo, Ma and Srikant, WWW 2007). With the rarest
shingles first, most prefixes hold nothing that any other text has, so that few pairs are ever compared; those that are
compared by their whole sets. Nothing is estimated, unlike MinHash.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WIDTH = 3  # words a shingle
MOST_ROWS = 1 << 16  # texts that `Words` takes at once: a row's number and a hash share 64 bits
CROWD = 512  # texts that share one of their rarest shingles and are all compared; in larger crowds each meets so many
_HASH_BITS = np.uint64(48)
_HASH = np.uint64((1 << 48) - 1)
_BLOCK = 1 << 13  # rows, or pairs, worked on at once
# For candidates a row's number in its block, how often a hash occurs, and the hash cut to 40 bits share 64.
_ROW_SHIFT, _RARITY_SHIFT, _CUT = np.uint64(51), np.uint64(40), np.uint64(8)
_MOST_OFTEN, _SHORT = np.uint32((1 << 11) - 1), np.uint64((1 << 40) - 1)
_PENDING = 1 << 24  # pairs, some of them repeated, held before they are merged
_NOT_WORDS = r"[^\pL\pM\pN\s]+"


@dataclass(frozen=True)
class ShingleSets:
    """The shingles of many texts.

    Attributes:
        values: Hashes of 48 bits, those of a text sorted and each once; may be mapped from a file.
        starts: `[texts]`, int64, where each text's begin in `values`.
        sizes: `[texts]`, int64, how many each has.
    """

    values: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, sizes: np.ndarray) -> ShingleSets:
        """Sets that lie end to end."""
        return cls(values, np.cumsum(sizes) - sizes, sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def select(self, texts: np.ndarray) -> ShingleSets:
        """The sets of some texts, not copied."""
        return ShingleSets(self.values, self.starts[texts], self.sizes[texts])

    def flat(self) -> np.ndarray:
        """All hashes end to end, copied."""
        firsts = np.cumsum(self.sizes) - self.sizes
        return np.asarray(self.values[np.arange(self.sizes.sum()) + np.repeat(self.starts - firsts, self.sizes)])

    def blocks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """The first text's number, the texts' sizes and their hashes, some texts at a time."""
        for first in range(0, len(self), _BLOCK):
            block = self.select(np.arange(first, min(first + _BLOCK, len(self))))
            yield first, block.sizes, block.flat()


@dataclass(frozen=True)
class WordHashes:
    """The words of some texts: lower-cased, without punctuation. A text of nothing else keeps it.

    Attributes:
        hashes: Of all words end to end, uint64.
        lengths: `[texts]`, int64, words of each.
    """

    hashes: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, texts: pa.Array) -> WordHashes:
        """The words of at most `MOST_ROWS` strings."""
        beyond = pc.invert(pc.string_is_ascii(texts))
        texts = pc.replace_with_mask(texts, beyond, pc.utf8_normalize(texts.filter(beyond), "NFKC"))
        bare = pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.utf8_lower(texts), _NOT_WORDS, ""))
        empty = pc.equal(bare, "")
        lists = pc.utf8_split_whitespace(
            pc.replace_with_mask(bare, empty, pc.utf8_trim_whitespace(texts.filter(empty)))
        )
        coded = pc.list_flatten(lists).dictionary_encode()
        hashes = np.array([_hash_word(word) for word in coded.dictionary.to_pylist()], dtype=np.uint64)
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(hashes[coded.indices.to_numpy(zero_copy_only=False)], lengths)

    @cached_property
    def left(self) -> np.ndarray:
        """`[words]`, int64: how many there are from each to its text's end."""
        return np.repeat(np.cumsum(self.lengths), self.lengths) - np.arange(len(self.hashes))

    def keys(self) -> np.ndarray:
        """`[texts]`, uint64, not 0: equal where two texts differ in case, punctuation and spacing alone."""
        if not len(self.lengths):
            return self.hashes[:0]
        placed = mix_bits(self.hashes + self.left.astype(np.uint64))
        return np.maximum(mix_bits(np.add.reduceat(placed, np.cumsum(self.lengths) - self.lengths)), np.uint64(1))

    def shingles(self) -> tuple[np.ndarray, np.ndarray]:
        """The set of three-word shingles of each text; of a text under three words, the whole text.

        Returns:
            The sets' hashes end to end, uint64, and `[texts]` their sizes, int64.
        """
        rows = np.repeat(np.arange(len(self.lengths)), self.lengths)
        width = np.minimum(self.lengths, WIDTH)[rows]
        mixed = mix_bits(self.hashes)  # so that the order of the words counts
        for step in range(1, WIDTH):
            following = np.concatenate([self.hashes[step:], np.zeros(step, np.uint64)])[: len(rows)]
            mixed = mix_bits(mixed + np.where(step < width, following, np.uint64(0)) + np.uint64(step))
        whole = self.left >= width
        keyed = np.sort(rows[whole].astype(np.uint64) << _HASH_BITS | (mixed[whole] & _HASH))
        keyed = keyed[np.concatenate([[True], keyed[1:] != keyed[:-1]])] if len(keyed) else keyed
        sizes = np.bincount((keyed >> _HASH_BITS).astype(np.int64), minlength=len(self.lengths))
        return keyed & _HASH, sizes


def _hash_word(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")


def mix_bits(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer (Steele, Lea and Flood, OOPSLA 2014): every bit of the input moves every bit out."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def salt_sets(sets: ShingleSets, salts: np.ndarray) -> ShingleSets:
    """Sets that can only resemble each other where their salts, `[texts]` uint64, are equal."""
    rows = np.repeat(np.arange(len(salts)), sets.sizes)
    values = mix_bits(sets.flat() + salts[rows]) & _HASH
    return ShingleSets.of(values[np.lexsort((values, rows))], sets.sizes)


def find_similar_pairs(sets: ShingleSets, threshold: float) -> np.ndarray:
    """All pairs of texts whose Jaccard similarity is at least the threshold.

    Exact unless more than `CROWD` texts share one of the rarest shingles of each: then each is compared with those
    nearest to it in size.

    Returns:
        `[pairs, 2]`, int64, the smaller number first, in order.
    """
    pairs = _find_candidates(*_select_prefixes(sets, threshold), sets.sizes, threshold)
    similar = [block[_compute_jaccard(sets, block) >= threshold - 1e-12] for block in _split(pairs)]
    return np.concatenate(similar) if similar else np.empty((0, 2), np.int64)


def _select_prefixes(sets: ShingleSets, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each text the hashes of which a similar one shares one, and whose they are; those no other has left out."""
    total = int(sets.sizes.sum())
    bits = min(max(total, 1 << 10).bit_length(), 26)
    slot = np.uint64((1 << bits) - 1)
    counts = np.zeros(1 << bits, np.uint32)  # by the hash's last bits: never too low
    for _, _, values in sets.blocks():
        np.add.at(counts, (values & slot).astype(np.intp), np.uint32(1))
    hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for first, sizes, values in sets.blocks():
        often = counts.take((values & slot).astype(np.intp))
        needed = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1
        starts = np.cumsum(sizes) - sizes
        alone = np.add.reduceat((often == 1).view(np.int8), starts, dtype=np.int64)
        open_ = np.repeat(alone < needed, sizes) & (often > 1)
        left = np.add.reduceat(open_.view(np.int8), starts, dtype=np.int64)
        rows = np.repeat(np.arange(len(sizes)), left)
        keyed = rows.astype(np.uint64) << _ROW_SHIFT  # one number an element sorts many times faster than three
        keyed |= np.minimum(often[open_], _MOST_OFTEN).astype(np.uint64) << _RARITY_SHIFT
        keyed = np.sort(keyed | values[open_] >> _CUT)
        kept = np.arange(len(rows)) - np.repeat(np.cumsum(left) - left, left) < (needed - alone)[rows]
        values = keyed & _SHORT
        hashes.append(values[kept])
        owners.append(rows[kept] + first)
    return np.concatenate(hashes), np.concatenate(owners)


def _find_candidates(hashes: np.ndarray, owners: np.ndarray, sizes: np.ndarray, threshold: float) -> np.ndarray:
    """Pairs that share a hash and whose sizes allow the similarity."""
    order = np.lexsort((owners, sizes[owners], hashes))
    hashes, owners = hashes[order], owners[order]
    found, fresh = np.empty(0, np.int64), [np.empty(0, np.int64)]
    places = np.arange(len(hashes))
    for distance in range(1, CROWD):
        places = places[places + distance < len(hashes)]
        places = places[hashes[places] == hashes[places + distance]]
        if not len(places):
            break
        one, other = owners[places], owners[places + distance]
        near = sizes[one] >= threshold * sizes[other] - 1e-9  # the second is the larger, by the order
        near &= one != other  # a text meets itself where two of its hashes agree in what is left of them
        one, other = one[near], other[near]
        fresh.append(np.minimum(one, other) * len(sizes) + np.maximum(one, other))
        if sum(map(len, fresh)) > _PENDING:
            found, fresh = np.unique(np.concatenate([found, *fresh])), []
    found = np.unique(np.concatenate([found, *fresh]))
    return np.stack([found // max(len(sizes), 1), found % max(len(sizes), 1)], axis=1)


def _split(pairs: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(pairs), _BLOCK):
        yield pairs[start : start + _BLOCK]


def _compute_jaccard(sets: ShingleSets, pairs: np.ndarray) -> np.ndarray:
    """`[pairs]`, the similarity of each."""
    both = [sets.select(pairs[:, side]) for side in (0, 1)]
    numbers = np.arange(len(pairs), dtype=np.uint64) << _HASH_BITS
    keyed = [np.repeat(numbers, side.sizes) | side.flat() for side in both]
    merged = np.sort(np.concatenate(keyed))
    twice = merged[1:][merged[1:] == merged[:-1]] >> _HASH_BITS
    shared = np.bincount(twice.astype(np.int64), minlength=len(pairs))
    return shared / (both[0].sizes + both[1].sizes - shared)


def label_components(count: int, pairs: np.ndarray) -> np.ndarray:
    """`[count]`, int64: the smallest number that each of `count` things is connected to through the pairs."""
    label = np.arange(count)
    while True:
        before = label.copy()
        lowest = np.minimum(label[pairs[:, 0]], label[pairs[:, 1]])
        for side in (0, 1):
            np.minimum.at(label, label[pairs[:, side]], lowest)
            np.minimum.at(label, pairs[:, side], lowest)
        label = label[label]
        if np.array_equal(label, before):
            return label
