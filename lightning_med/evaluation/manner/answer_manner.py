"""Indicators of manner: the shares of answers that greet, show empathy, ask back, explain, advise care, refuse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightning_med.evaluation.manner.detectors import MANNER, detect
from lightning_med.evaluation.statistic import Statistic, make_mean
from lightning_med.safety import Verdict
from lightning_med.utils.console import Progress


def measure_manner(
    answers: Sequence[str | None], verdicts: Sequence[Verdict], progress: Progress | None = None
) -> dict[str, Statistic]:
    """Returns the share of answers for which each detector of manner says yes.

    `refuses` has a value only on rows whose question triage lets no model answer.

    Args:
        answers: As the model wrote them; `None` where there is none.
        verdicts: Of triage on each row's question.
        progress: Reports rows.
    """
    values = {name: np.full(len(answers), np.nan) for name in MANNER}
    for row, (answer, verdict) in enumerate(zip(answers, verdicts, strict=True)):
        if progress:
            progress("manner", row, len(answers))
        if answer is None:
            continue
        found = detect(answer)
        for name in MANNER:
            if name != "refuses" or not verdict.answerable:
                values[name][row] = name in found
    return {name: make_mean(values[name]) for name in MANNER}
