"""Similarity of answers to the references, as an encoder sees it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from lightning_med.evaluation.statistic import Statistic, make_mean
from lightning_med.evaluation.text.encoder import SentenceEncoder
from lightning_med.utils.console import Progress

_ROWS = 128  # whose token vectors are in memory at once


def measure_similarity(
    encoder: SentenceEncoder,
    answers: Sequence[str | None],
    references: Sequence[str],
    progress: Progress | None = None,
) -> dict[str, Statistic]:
    """Measures by an encoder how alike answers and references are; a text without a token is like nothing, 0.

    Args:
        encoder: Of both.
        answers: `None` for a row that has no value.
        references: As many.
        progress: Is told how many rows are done.

    Returns:
        The statistics of `bertscore_f1` and `similarity`.
    """
    rows = [row for row, answer in enumerate(answers) if answer is not None]
    matched, similar = np.full(len(answers), np.nan), np.full(len(answers), np.nan)
    for start in range(0, len(rows), _ROWS):
        if progress:
            progress("similarity", start, len(rows))
        pairs = [(answers[row] or "", references[row]) for row in rows[start : start + _ROWS]]
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        encoded = dict(zip(texts, encoder.encode(texts), strict=True))
        for row, (answer, reference) in zip(rows[start : start + _ROWS], pairs, strict=True):
            ours, theirs = encoded[answer], encoded[reference]
            matched[row] = compute_bertscore(ours.tokens, theirs.tokens)
            empty = not (len(ours.tokens) and len(theirs.tokens))
            similar[row] = 0.0 if empty else min(float(ours.vector @ theirs.vector), 1.0)
    return {"bertscore_f1": make_mean(matched), "similarity": make_mean(similar)}


def compute_bertscore(answer: Tensor, reference: Tensor) -> float:
    """Returns BERTScore's F1 (Zhang et al., 2020): each token is matched with the most similar one of the other text.

    Tokens count alike (no idf), and values are not rescaled.

    Args:
        answer: `[tokens, width]`, normalized, without special tokens.
        reference: `[tokens, width]`, normalized, without special tokens.
    """
    if not (len(answer) and len(reference)):
        return 0.0
    cosines = answer @ reference.T
    precision, recall = float(cosines.amax(1).mean()), float(cosines.amax(0).mean())
    return min(2 * precision * recall / (precision + recall), 1.0) if precision + recall > 0 else 0.0
