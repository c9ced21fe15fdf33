"""BLEU as NLTK computes it, and NIST: sums over rows, and the formulas that turn them into values.

Both read the tokens of `mteval-v13a`, the script of NIST that BLEU and NIST scores were published with, in lower case.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np

from lightning_med.evaluation.statistic import Combine

ORDERS = 4  # sequences of one to four tokens
_NIST_DECAY = math.log(0.5) / math.log(1.5) ** 2  # two thirds of the reference's length halve the score

Ngrams = Counter[tuple[str, ...]]


def count_ngrams(tokens: str) -> Ngrams:
    """Counts the sequences of one to four tokens; `tokens` are separated by spaces."""
    from sacrebleu.metrics.helpers import extract_all_word_ngrams

    counts: Ngrams = extract_all_word_ngrams(tokens, 1, ORDERS)[0]
    return counts


def weigh_ngrams(references: Sequence[Ngrams]) -> dict[tuple[str, ...], float]:
    """Returns the information of each sequence in bits: how rare its last token is after the others.

    Args:
        references: Of all rows (Doddington, 2002, equation 2).
    """
    counts: Ngrams = Counter()
    for ngrams in references:
        counts.update(ngrams)
    words = sum(count for ngram, count in counts.items() if len(ngram) == 1)
    return {ngram: math.log2((counts[ngram[:-1]] if ngram[:-1] else words) / count) for ngram, count in counts.items()}


def sum_row(answer: Ngrams, reference: Ngrams, weights: dict[tuple[str, ...], float]) -> list[float]:
    """Returns a row's sums: tokens of answer and reference, then for each order matches, sequences, information."""
    matches, information = [0.0] * ORDERS, [0.0] * ORDERS
    for ngram, count in answer.items():
        if matched := min(count, reference[ngram]):
            matches[len(ngram) - 1] += matched
            information[len(ngram) - 1] += matched * weights[ngram]
    tokens, other = (sum(count for ngram, count in ngrams.items() if len(ngram) == 1) for ngrams in (answer, reference))
    return [tokens, other, *matches, *(max(tokens - order, 0) for order in range(ORDERS)), *information]


def select_bleu(sums: np.ndarray, orders: int) -> np.ndarray:
    """Returns the columns of BLEU, `[rows, 2 + 2 * orders]`: tokens of both, matches, sequences.

    NLTK takes a text that is too short for a sequence to have one, so that a division by 0 cannot happen.

    Args:
        sums: `[rows, columns]`, of `sum_row`.
        orders: Up to sequences of so many tokens.
    """
    matches, sequences = sums[:, 2 : 2 + orders], sums[:, 2 + ORDERS : 2 + ORDERS + orders]
    return np.concatenate([sums[:, :2], matches, np.maximum(sequences, 1)], 1)


def select_nist(sums: np.ndarray) -> np.ndarray:
    """Returns the columns of NIST, `[rows, 10]`: tokens of both, information, sequences."""
    return np.concatenate([sums[:, :2], sums[:, 2 + 2 * ORDERS :], sums[:, 2 + ORDERS : 2 + 2 * ORDERS]], 1)


def make_bleu(smooth: bool) -> Combine:
    """Returns the formula of BLEU, 0 to 100 (Papineni et al., 2002), of sums `[..., 2 + 2 * orders]`.

    Args:
        smooth: For an order without a match take half a match, then a quarter, and so on: what NIST's script, sacreBLEU
            (`exp`) and NLTK (`method3`) do. Otherwise such an order makes BLEU 0.
    """
    return partial(_combine_bleu, smooth=smooth)


def _combine_bleu(sums: np.ndarray, smooth: bool) -> np.ndarray:
    tokens, other, counts = sums[..., 0], sums[..., 1], sums[..., 2:]
    matches, sequences = np.split(counts, 2, axis=-1)
    missing = matches == 0
    with np.errstate(all="ignore"):
        substitutes = 0.5 ** np.cumsum(missing, axis=-1) if smooth else 0.0
        precisions = np.where(sequences > 0, np.where(missing, substitutes, matches) / sequences, 0.0)
        brevity = np.where(tokens < other, np.exp(1 - other / tokens), 1.0)
        values = 100 * brevity * np.exp(np.log(precisions).mean(-1))
    return np.where(other > 0, np.where(matches[..., 0] > 0, values, 0.0), np.nan)


def combine_nist(sums: np.ndarray) -> np.ndarray:
    """The formula of NIST (Doddington, 2002, equation 3), of sums `[..., 10]` as `select_nist` orders them."""
    tokens, other = sums[..., 0], sums[..., 1]
    information, sequences = np.split(sums[..., 2:], 2, axis=-1)
    with np.errstate(all="ignore"):
        means = np.where(sequences > 0, information / sequences, 0.0)
        penalty = np.exp(_NIST_DECAY * np.log(np.minimum(tokens / other, 1)) ** 2)
    return np.where(other > 0, means.sum(-1) * np.where(tokens > 0, penalty, 0.0), np.nan)
