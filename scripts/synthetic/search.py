"""An exact search for questions that are alike on two sides, on its own so that it can check another."""

from __future__ import annotations

import numpy as np

from lightning_med.utils.errors import InputError
from synthetic.shingles import words

ALIKE = 0.8
_WORD_BITS = 21


def ranked_shingles(questions: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All shingles as numbers, the rarest first within each question; where each question's begin; each one's count.

    A run of three words is one integer, so nothing is lost to hashing.
    """
    vocabulary: dict[str, int] = {"": 0}
    coded = [[vocabulary.setdefault(word, len(vocabulary)) for word in words(text)] for text in questions]
    if len(vocabulary) >= 1 << _WORD_BITS:
        raise InputError(f"The questions have over {1 << _WORD_BITS:,} different words.", "Measure a smaller corpus.")
    coded = [ids + [0] * (3 - len(ids)) for ids in coded]
    sizes = np.array([len(ids) for ids in coded])
    flat = np.fromiter((number for ids in coded for number in ids), np.int64, int(sizes.sum()))
    ends = np.cumsum(sizes)
    codes = (flat[:-2] << 2 * _WORD_BITS) | (flat[1:-1] << _WORD_BITS) | flat[2:]
    owners = np.repeat(np.arange(len(coded)), sizes)[:-2]
    inside = np.arange(len(codes)) < ends[owners] - 2
    different, numbers = np.unique(codes[inside], return_inverse=True)
    once = np.unique(owners[inside] * len(different) + numbers)  # a shingle twice in a question counts once
    owners, numbers = once // len(different), once % len(different)
    counts = np.bincount(numbers)
    order = np.argsort(counts, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    keys = np.sort(owners * len(different) + rank[numbers])
    begins = np.searchsorted(keys, np.arange(len(coded) + 1) * len(different))
    return keys % len(different), begins, counts[order]


def alike_across(questions: list[str], sides: np.ndarray, least: float = ALIKE) -> list[tuple[int, int, float]]:
    """All pairs of questions on two sides with a Jaccard index of `least` or more; none is missed.

    Two sets that are so alike share one of their rarest shingles: of the n of a set, one of the first
    n - ⌈least · n⌉ + 1, so that only those are looked up.
    """
    if not questions:
        return []
    shingles, begins, counts = ranked_shingles(questions)
    sizes = np.diff(begins)
    owners = np.repeat(np.arange(len(questions)), sizes)
    prefix = sizes - np.ceil(least * sizes - 1e-9).astype(int) + 1
    kept = (np.arange(len(shingles)) - begins[owners] < prefix[owners]) & (counts[shingles] > 1)
    order = np.argsort(shingles[kept], kind="stable")
    members, named = owners[kept][order], shingles[kept][order]
    pairs: set[tuple[int, int]] = set()
    for bucket in np.split(members, np.flatnonzero(np.diff(named)) + 1):
        if len(bucket) > 1 and np.ptp(sides[bucket]):
            left, right = np.nonzero(np.triu(sides[bucket][:, None] != sides[bucket]))
            a, b = bucket[left], bucket[right]
            near = np.minimum(sizes[a], sizes[b]) >= least * np.maximum(sizes[a], sizes[b]) - 1e-9
            pairs.update(zip(a[near].tolist(), b[near].tolist(), strict=True))
    found = []
    for one, other in sorted(pairs):
        left_set, right_set = (shingles[begins[each] : begins[each + 1]] for each in (one, other))
        both = len(np.intersect1d(left_set, right_set, assume_unique=True))
        alike = both / (len(left_set) + len(right_set) - both)
        if alike >= least - 1e-12:
            found.append((one, other, alike))
    return found
