"""Indicators of manner: shares of answers, and how often their detectors are right on `examples.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lightning_med.evaluation.manner.detectors import MANNER, NAMES, detect
from lightning_med.evaluation.statistic import Statistic, make_mean
from lightning_med.safety import Verdict
from lightning_med.utils.console import Progress

EXAMPLES = Path(__file__).with_name("examples.jsonl")
PARTS = {"seen": False, "held_apart": True}  # the patterns were made with the first ones in view, not with the others


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


@cache
def read_examples() -> tuple[dict[str, Any], ...]:
    """Returns the examples: `text`, `labels` (names of the detectors that should say yes), `held_apart`."""
    return tuple(json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines())


def measure_detectors() -> dict[str, dict[str, dict[str, float]]]:
    """Returns precision and recall of each detector, by name and part of the examples.

    The parts are `seen` and `held_apart`. Each has `precision` and `recall` (NaN where nothing was found or is to be
    found), `right`, `found` (where the detector says yes), `positives` (where it should) and `examples`.
    """
    found = [detect(example["text"]) for example in read_examples()]
    return {name: {part: _measure(name, found, apart) for part, apart in PARTS.items()} for name in NAMES}


def format_detectors() -> str:
    """Returns the figures of `measure_detectors` as a table in Markdown."""
    lines = ["| detector | part | precision | recall |", "|---|---|---|---|"]
    for name, parts in measure_detectors().items():
        for part, figures in parts.items():
            precision = f"{figures['precision']:.1%} ({figures['right']} of {figures['found']})"
            recall = f"{figures['recall']:.1%} ({figures['right']} of {figures['positives']})"
            lines.append(f"| {name} | {part.replace('_', ' ')}, {figures['examples']} | {precision} | {recall} |")
    return "\n".join(lines)


def _measure(name: str, found: list[frozenset[str]], apart: bool) -> dict[str, float]:
    """The figures of a detector on one part; `found` has what the detectors found in each example."""
    rows = [row for row, example in enumerate(read_examples()) if example["held_apart"] is apart]
    labels = [name in read_examples()[row]["labels"] for row in rows]
    finds = [name in found[row] for row in rows]
    right = sum(label and find for label, find in zip(labels, finds, strict=True))
    return {
        "precision": right / sum(finds) if any(finds) else float("nan"),
        "recall": right / sum(labels) if any(labels) else float("nan"),
        "right": right,
        "found": sum(finds),
        "positives": sum(labels),
        "examples": len(rows),
    }
