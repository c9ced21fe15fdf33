"""Hashes of words and of word shingles, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SHINGLE_WORDS = 3
MAX_TEXTS = 1 << 16  # texts of one `WordHashes`: a text's number and a 48-bit hash share 64 bits
HASH_BITS = np.uint64(48)  # of a shingle
HASH_MASK = np.uint64((1 << 48) - 1)
_PUNCTUATION = r"[^\pL\pM\pN\s]+"


@dataclass(frozen=True)
class WordHashes:
    """The words of some texts, lower-cased and without punctuation.

    A text that holds nothing but punctuation keeps it as its words.

    Attributes:
        hashes: `[words]`, uint64, the hashes of all words, text after text.
        lengths: `[texts]`, int64, number of words of each text.
    """

    hashes: np.ndarray
    lengths: np.ndarray

    @classmethod
    def from_texts(cls, texts: pa.Array) -> WordHashes:
        """Hashes the words of at most `MAX_TEXTS` strings."""
        not_ascii = pc.invert(pc.string_is_ascii(texts))
        texts = pc.replace_with_mask(texts, not_ascii, pc.utf8_normalize(texts.filter(not_ascii), "NFKC"))
        bare = pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.utf8_lower(texts), _PUNCTUATION, ""))
        empty = pc.equal(bare, "")
        words = pc.utf8_split_whitespace(
            pc.replace_with_mask(bare, empty, pc.utf8_trim_whitespace(texts.filter(empty)))
        )
        encoded = pc.list_flatten(words).dictionary_encode()
        hashes = np.array([_hash_word(word) for word in encoded.dictionary.to_pylist()], dtype=np.uint64)
        lengths = pc.list_value_length(words).to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(hashes[encoded.indices.to_numpy(zero_copy_only=False)], lengths)

    @cached_property
    def remaining(self) -> np.ndarray:
        """`[words]`, int64: words from each one to the end of its text, itself included."""
        return np.repeat(np.cumsum(self.lengths), self.lengths) - np.arange(len(self.hashes))

    def compute_keys(self) -> np.ndarray:
        """`[texts]`, uint64, never 0: equal where two texts differ in case, punctuation and spacing alone."""
        if not len(self.lengths):
            return self.hashes[:0]
        placed = mix_bits(self.hashes + self.remaining.astype(np.uint64))
        sums = np.add.reduceat(placed, np.cumsum(self.lengths) - self.lengths)
        return np.maximum(mix_bits(sums), np.uint64(1))

    def hash_shingles(self) -> tuple[np.ndarray, np.ndarray]:
        """Hashes the set of three-word shingles of each text; a shorter text is one shingle.

        Returns:
            The hashes of all sets end to end, uint64, those of a set sorted; and `[texts]`, int64, the sets' sizes.
        """
        texts = np.repeat(np.arange(len(self.lengths)), self.lengths)
        width = np.minimum(self.lengths, SHINGLE_WORDS)[texts]
        mixed = mix_bits(self.hashes)  # so that the order of the words counts
        for step in range(1, SHINGLE_WORDS):
            following = np.concatenate([self.hashes[step:], np.zeros(step, np.uint64)])[: len(texts)]
            mixed = mix_bits(mixed + np.where(step < width, following, np.uint64(0)) + np.uint64(step))
        complete = self.remaining >= width
        keyed = np.sort(texts[complete].astype(np.uint64) << HASH_BITS | (mixed[complete] & HASH_MASK))
        keyed = keyed[np.concatenate([[True], keyed[1:] != keyed[:-1]])] if len(keyed) else keyed
        sizes = np.bincount((keyed >> HASH_BITS).astype(np.int64), minlength=len(self.lengths))
        return keyed & HASH_MASK, sizes


def _hash_word(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")


def mix_bits(values: np.ndarray) -> np.ndarray:
    """Applies SplitMix64's finalizer (Steele, Lea and Flood, OOPSLA 2014): each input bit affects every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
