"""Questions that the report shows with all answers: some by seed, and those that the first model finds least likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_med.evaluation.likelihood.row_likelihood import compute_loss
from lightning_med.evaluation.measured_rows import GREEDY, LIKELIHOOD, SAMPLED, MeasuredRows
from lightning_med.evaluation.rows import Rows

COUNT = 10  # of each


def choose_examples(rows: Rows, names: Sequence[str], measured: MeasuredRows, seed: int) -> list[dict[str, Any]]:
    """Returns the examples; answers are greedy ones, sampled ones where there are no others.

    Args:
        rows: Questions and references.
        names: Of the models, the first one's likelihood decides.
        measured: All that was measured.
        seed: Of the draw.
    """
    results = measured.results
    kind = next((kind for kind in (GREEDY, SAMPLED) if (names[0], kind) in results), None)
    losses = {
        name: [compute_loss(row) for row in results[name, LIKELIHOOD]]
        for name in names
        if (name, LIKELIHOOD) in results
    }
    drawn = np.sort(np.random.default_rng(seed).choice(len(rows), min(COUNT, len(rows)), replace=False)).tolist()
    worst: list[int] = []
    if names[0] in losses:
        order = np.argsort([np.inf if loss is None else -loss for loss in losses[names[0]]], kind="stable").tolist()
        worst = [row for row in order if row not in drawn][:COUNT]
    return [
        {
            "why": why,
            "row": rows.numbers[row],
            "source": rows.sources[row],
            "question": rows.questions[row],
            "reference": rows.references[row],
            "answers": {name: results[name, kind][row]["answer"] for name in names} if kind else {},
            "nll": {name: None if (loss := each[row]) is None else round(loss, 4) for name, each in losses.items()},
            "kind": kind,
        }
        for why, places in (("drawn", drawn), ("worst", worst))
        for row in places
    ]
