"""Form of answers: how long, how varied, how repetitive, and whether they ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from lightning_med.evaluation.statistic import Statistic, make_linearized, make_mean, make_ratio
from lightning_med.evaluation.text.words import list_sequences, measure_repetition, split_words


def measure_form(
    answers: Sequence[str | None], references: Sequence[str], ended: Sequence[bool | None] | None = None
) -> dict[str, Statistic]:
    """Measures the form of answers. A word is a run of letters and digits, in lower case.

    Args:
        answers: `None` for a row that has no value.
        references: As many; only `length_ratio` reads them.
        ended: Whether an answer was over before the limit on its tokens; `None` where that is not known.

    Returns:
        The statistics of `words`, `length_ratio`, `distinct1`, `distinct2`, `entropy4`, `repeated_4grams`, and, if
        `ended` is given, `ended`.
    """
    words = [None if answer is None else split_words(answer) for answer in answers]
    lengths = [np.nan if row is None else len(row) for row in words]
    others = [np.nan if row is None else len(split_words(text)) for row, text in zip(words, references, strict=True)]
    found = {
        "words": make_mean(lengths),
        "length_ratio": make_ratio(lengths, others),
        "distinct1": _leave_out(words, 1, _sum_types, _divide_types),
        "distinct2": _leave_out(words, 2, _sum_types, _divide_types),
        "entropy4": _leave_out(words, 4, _sum_logarithms, _compute_entropy),
        "repeated_4grams": make_mean([np.nan if row is None else measure_repetition(row) for row in words]),
    }
    if ended is not None:
        pairs = zip(words, ended, strict=True)
        found["ended"] = make_mean([np.nan if None in (row, end) else float(bool(end)) for row, end in pairs])
    return found


def _leave_out(
    words: list[list[str] | None],
    length: int,
    contribute: Callable[[np.ndarray], np.ndarray],
    combine: Callable[[float, float], float],
) -> Statistic:
    """Computes a metric of all sequences of words together, and without each row, in time linear in the words.

    Args:
        words: Of each row; `None` for a row that has no value.
        length: Of a sequence.
        contribute: What a sequence that occurs so often adds to the metric's sum; 0 for a count of 0.
        combine: The metric, of that sum and of the number of sequences.
    """
    rows = [None if row is None else Counter(list_sequences(row, length)) for row in words]
    counts: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        counts.update(row or {})
    total = sum(counts.values())
    sum_of_all = float(contribute(np.array(list(counts.values()), float)).sum())
    without = []
    for row in rows:
        if row is None:
            without.append(np.nan)
            continue
        here = np.array(list(row.values()), float)
        everywhere = np.array([counts[sequence] for sequence in row], float)
        change = float((contribute(everywhere - here) - contribute(everywhere)).sum())
        without.append(combine(sum_of_all + change, total - int(here.sum())))
    return make_linearized(combine(sum_of_all, total), without)


def _sum_types(counts: np.ndarray) -> np.ndarray:
    return (counts > 0).astype(float)


def _divide_types(types: float, total: float) -> float:
    """The share of different sequences; 0 where there is none."""
    return types / total if total else 0.0


def _sum_logarithms(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts * np.log(np.maximum(counts, 1)))


def _compute_entropy(logarithms: float, total: float) -> float:
    """The entropy in nats, of the sum of count * log(count); 0 where there is no sequence."""
    return max(float(np.log(total) - logarithms / total), 0.0) if total else 0.0
