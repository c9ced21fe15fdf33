"""Likelihood by source and by length, and the distributions that the page draws."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from lightning_med.evaluation.likelihood.row_likelihood import compute_loss
from lightning_med.evaluation.text.words import split_words

WORD_EDGES = (0, 25, 50, 75, 100, 150, 200, 300, 100_000)  # words of a reference; the last has no end
_NLL_EDGES = np.arange(0, 10.01, 0.25)  # nats a token
_ANSWER_EDGES = np.arange(0, 401, 20)  # words of an answer


def break_down(rows: Sequence[dict[str, Any]], references: Sequence[str], sources: Sequence[str]) -> dict[str, Any]:
    """Returns likelihood by source, and by words of the reference.

    Args:
        rows: Fields of `RowLikelihood`.
        references, sources: Of the same rows.
    """
    words = np.array([len(split_words(reference)) for reference in references])
    of = np.array(sources)
    by_length = [
        {
            "from": low,
            "to": None if high == WORD_EDGES[-1] else high,
            **_sum_rows(rows, (words >= low) & (words < high)),
        }
        for low, high in pairwise(WORD_EDGES)
    ]
    return {
        "by_source": {source: _sum_rows(rows, of == source) for source in sorted(set(sources))},
        "by_length": [each for each in by_length if each["rows"]],
    }


def _sum_rows(rows: Sequence[dict[str, Any]], chosen: np.ndarray) -> dict[str, Any]:
    own = [row for row, taken in zip(rows, chosen, strict=True) if taken and compute_loss(row) is not None]
    nll = sum(row["answer"] + row["end"] for row in own)
    tokens = sum(row["answer_tokens"] + row["end_tokens"] for row in own)
    size = sum(row["answer_bytes"] for row in own)
    return {
        "rows": len(own),
        "nll": nll / tokens if tokens else None,
        "bits_per_byte": nll / np.log(2) / size if size else None,
    }


def count_words(answers: Sequence[str | None]) -> list[int]:
    """Returns how many answers have 0 to 19, 20 to 39, ... words; the last count has all longer ones."""
    return _count([len(split_words(answer)) for answer in answers if answer is not None], _ANSWER_EDGES)


def count_losses(rows: Sequence[dict[str, Any]]) -> list[int]:
    """Returns how many rows have a loss of 0 to 0.25, ... nats a token; the last count has all higher ones."""
    return _count([loss for row in rows if (loss := compute_loss(row)) is not None], _NLL_EDGES)


def _count(values: Sequence[float], edges: np.ndarray) -> list[int]:
    counts, _ = np.histogram(np.minimum(values, edges[-1] - 1e-9), edges)
    return [int(count) for count in counts]


def list_edges() -> dict[str, list[float]]:
    """Returns the edges of the distributions."""
    return {"words": _ANSWER_EDGES.tolist(), "row_nll": _NLL_EDGES.tolist()}
