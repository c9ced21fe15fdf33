"""An exact search for similar questions in different splits, written independently of the code that it checks."""

from __future__ import annotations

import numpy as np

from lightning_med.utils.errors import InputError
from synthetic.shingles import split_words

SIMILAR = 0.8  # Jaccard index
_WORD_BITS = 21


def rank_shingles(questions: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers all shingles by their frequency, the rarest first.

    A shingle of three words is packed into one integer, so no hash can collide.

    Returns:
        `[total]`, the distinct shingles of all questions end to end, sorted within each question; `[questions + 1]`,
        where those of each question start; `[shingles]`, in how many questions each shingle occurs.

    Raises:
        InputError: The questions have more different words than fit into an integer.
    """
    vocabulary: dict[str, int] = {"": 0}
    coded = [[vocabulary.setdefault(word, len(vocabulary)) for word in split_words(text)] for text in questions]
    if len(vocabulary) >= 1 << _WORD_BITS:
        raise InputError(f"The questions have over {1 << _WORD_BITS:,} different words.", "Measure a smaller corpus.")
    coded = [ids + [0] * (3 - len(ids)) for ids in coded]
    sizes = np.array([len(ids) for ids in coded])
    flat = np.fromiter((number for ids in coded for number in ids), np.int64, int(sizes.sum()))
    ends = np.cumsum(sizes)
    codes = (flat[:-2] << 2 * _WORD_BITS) | (flat[1:-1] << _WORD_BITS) | flat[2:]
    owners = np.repeat(np.arange(len(coded)), sizes)[:-2]
    inside = np.arange(len(codes)) < ends[owners] - 2  # not across the end of a question
    distinct, numbers = np.unique(codes[inside], return_inverse=True)
    unique = np.unique(owners[inside] * len(distinct) + numbers)  # repeated in a question, a shingle counts once
    owners, numbers = unique // len(distinct), unique % len(distinct)
    counts = np.bincount(numbers)
    order = np.argsort(counts, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    keys = np.sort(owners * len(distinct) + rank[numbers])
    starts = np.searchsorted(keys, np.arange(len(coded) + 1) * len(distinct))
    return keys % len(distinct), starts, counts[order]


def find_similar_across(
    questions: list[str], sides: np.ndarray, threshold: float = SIMILAR
) -> list[tuple[int, int, float]]:
    """Finds all pairs of questions on different sides with a Jaccard index of at least `threshold`.

    Prefix filtering (Chaudhuri et al., 2006; Bayardo et al., 2007): two such sets share one of the n - ⌈threshold · n⌉
    + 1 rarest of their n shingles, so only those are looked up.

    Args:
        questions: Texts.
        sides: `[questions]`, integer, for instance the split of each question.
        threshold: Above 0, at most 1.

    Returns:
        Triples of two positions in `questions`, ascending, and their Jaccard index.
    """
    if not questions:
        return []
    shingles, starts, counts = rank_shingles(questions)
    sizes = np.diff(starts)
    similar = []
    for one, other in sorted(_find_candidates(shingles, starts, counts, sides, threshold)):
        left, right = (shingles[starts[each] : starts[each + 1]] for each in (one, other))
        common = len(np.intersect1d(left, right, assume_unique=True))
        jaccard = common / (sizes[one] + sizes[other] - common)
        if jaccard >= threshold - 1e-12:
            similar.append((one, other, float(jaccard)))
    return similar


def _find_candidates(
    shingles: np.ndarray, starts: np.ndarray, counts: np.ndarray, sides: np.ndarray, threshold: float
) -> set[tuple[int, int]]:
    """Pairs on different sides that share one of their rarest shingles and are of similar size."""
    sizes = np.diff(starts)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    prefix = sizes - np.ceil(threshold * sizes - 1e-9).astype(int) + 1
    kept = (np.arange(len(shingles)) - starts[owners] < prefix[owners]) & (counts[shingles] > 1)
    order = np.argsort(shingles[kept], kind="stable")
    members, shared = owners[kept][order], shingles[kept][order]
    pairs: set[tuple[int, int]] = set()
    for bucket in np.split(members, np.flatnonzero(np.diff(shared)) + 1):
        if len(bucket) > 1 and np.ptp(sides[bucket]):
            left, right = np.nonzero(np.triu(sides[bucket][:, None] != sides[bucket]))
            a, b = bucket[left], bucket[right]
            near = np.minimum(sizes[a], sizes[b]) >= threshold * np.maximum(sizes[a], sizes[b]) - 1e-9
            pairs.update(zip(a[near].tolist(), b[near].tolist(), strict=True))
    return pairs
