"""Puts what was measured together as the content of `metrics.json`."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from itertools import combinations
from typing import Any

import numpy as np

from lightning_med.evaluation.answer_metrics import AnswerMeasurer
from lightning_med.evaluation.baselines.baseline_answers import HUMAN, BaselineAnswers
from lightning_med.evaluation.breakdowns import break_down, count_losses, count_words, list_edges
from lightning_med.evaluation.candidates import UNTUNED, Candidate
from lightning_med.evaluation.findings import find_sentences, list_directions
from lightning_med.evaluation.intervals.differences import compare
from lightning_med.evaluation.intervals.estimates import estimate_all
from lightning_med.evaluation.intervals.power import find_rows_needed
from lightning_med.evaluation.likelihood.row_likelihood import summarize_rows
from lightning_med.evaluation.measured_rows import ANSWERS, CANARIES, LIKELIHOOD, SAMPLED, MeasuredRows, Plan
from lightning_med.evaluation.metric_list import SAMPLED as PREFIX
from lightning_med.evaluation.metric_list import find_metric
from lightning_med.evaluation.report.systems import DISCLAIMER
from lightning_med.evaluation.rows import Rows
from lightning_med.evaluation.statistic import Statistic
from lightning_med.utils.console import Progress
from lightning_med.version import __version__

FORMAT = 1
DRAWS = 10_000
_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn", "sacrebleu", "nltk", "torchmetrics")
_DIGITS = 10  # significant ones


@dataclass
class Measured:
    """Statistics and all else that is known of a model, a baseline or a ceiling, before intervals."""

    statistics: dict[str, Statistic] = field(default_factory=dict)
    groups: np.ndarray | None = None  # where it was measured on rows of its own
    flags: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    breakdown: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, list[int]] = field(default_factory=dict)
    canaries: dict[str, Any] = field(default_factory=dict)


def measure_candidate(
    candidate: Candidate, results: MeasuredRows, plan: Plan, rows: Rows, measurer: AnswerMeasurer, progress: Progress
) -> Measured:
    """Returns the statistics of a model from its measured rows."""
    found, own = Measured(about=candidate.describe()), results.results
    if LIKELIHOOD in plan.kinds:
        likelihood = own[candidate.name, LIKELIHOOD]
        found.statistics |= summarize_rows(likelihood)
        found.breakdown = break_down(likelihood, rows.references, rows.sources)
        found.distributions["row_nll"] = count_losses(likelihood)
        found.about["rows_cut"] = sum(row["cut"] for row in likelihood)
    for kind in (kind for kind in ANSWERS if kind in plan.kinds):
        lines = own[candidate.name, kind]
        answers, ended = [line["answer"] for line in lines], [line["ended"] for line in lines]
        measured = measurer.measure(
            answers, ended, lambda what, *counts, kind=kind: progress(f"{candidate.name}, {kind}: {what}", *counts)
        )
        prefix = PREFIX if kind == SAMPLED else ""
        found.statistics |= {f"{prefix}{name}": each for name, each in measured.statistics.items()}
        found.flags += [{**flag, "answers": kind} for flag in measured.flags]
        found.distributions[f"{prefix}words"] = count_words(answers)
        found.about[f"{prefix}details"] = measured.details
    if plan.canaries:
        line = own[candidate.name, CANARIES][0]
        found.canaries = {name: value for name, value in line.items() if name not in ("model", "kind", "row")}
    return found


def measure_baselines(made: BaselineAnswers, measurer: AnswerMeasurer, progress: Progress) -> dict[str, Measured]:
    """Returns the statistics of baselines, by name."""
    found = {}
    for name, answers in made.answers.items():
        measured = measurer.measure(
            answers, None, lambda what, *counts, name=name: progress(f"{name}: {what}", *counts), name != HUMAN
        )
        found[name] = Measured(
            measured.statistics,
            flags=[] if name == HUMAN else measured.flags,
            about=made.about[name],
            distributions={"words": count_words(answers)},
        )
    return found


@dataclass(frozen=True)
class Interval:
    """Settings of intervals and differences."""

    seed: int = 0
    draws: int = DRAWS
    power: bool = False


def make_results(
    rows: Rows,
    measured: dict[str, Measured],
    models: Sequence[str],
    settings: dict[str, Any],
    left_out: Sequence[str],
    interval: Interval,
    progress: Progress,
) -> dict[str, Any]:
    """Returns the content of `metrics.json`; docs/evaluation.md describes it.

    Args:
        rows: What was measured on.
        measured: By name, the models first.
        models: Names of the models; the others are baselines.
        settings: Of the evaluation.
        left_out: What was not measured and why.
        interval: Settings of the bootstrap.
        progress: Is told what is being done.
    """
    tables = {name: _estimate(each, rows, interval, progress) for name, each in measured.items()}
    differences = _compare_all(measured, models, rows, interval, progress)
    flags = {name: each.flags for name, each in measured.items() if each.flags}
    content = {
        "format": FORMAT,
        "disclaimer": DISCLAIMER,
        "findings": find_sentences(models, differences, flags),
        "data": rows.describe(),
        "settings": {**settings, **asdict(interval)},
        "versions": {"lightning_med": __version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in _LIBRARIES},
        "models": {name: tables[name] for name in models},
        "baselines": {name: table for name, table in tables.items() if name not in models},
        "differences": differences,
        "about": {name: each.about for name, each in measured.items()},
        "breakdowns": {name: each.breakdown for name, each in measured.items() if each.breakdown},
        "distributions": {name: each.distributions for name, each in measured.items() if each.distributions}
        | {"reference": {"words": count_words(rows.references)}, "edges": list_edges()},
        "flags": flags,
        "canaries": {name: each.canaries for name, each in measured.items() if each.canaries},
        "left_out": list(left_out),
    }
    return _round(content)  # type: ignore[no-any-return]


def _estimate(measured: Measured, rows: Rows, interval: Interval, progress: Progress) -> dict[str, Any]:
    groups = rows.groups if measured.groups is None else measured.groups
    shares = [name for name in measured.statistics if find_metric(name).form.endswith("%")]
    found = estimate_all(measured.statistics, groups, interval.seed, interval.draws, progress, shares)
    return {name: asdict(each) for name, each in found.items()}


def _compare_all(
    measured: dict[str, Measured], models: Sequence[str], rows: Rows, interval: Interval, progress: Progress
) -> list[dict[str, Any]]:
    """Compares the models with each other, and each with the baselines on the same rows."""
    baselines = [name for name in measured if name not in models and measured[name].groups is None]
    pairs = [*combinations(models, 2), *((model, baseline) for model in models for baseline in baselines)]
    found = []
    for a, b in pairs:
        progress(f"{a} against {b}", 0, 0)
        ours, theirs = measured[a].statistics, measured[b].statistics
        better = list_directions(list(ours))
        directed = sum(bool(better[name]) for name in theirs if name in better)
        for each in compare(ours, theirs, rows.groups, better, interval.seed, interval.draws, progress):
            line = {"a": a, "b": b, **asdict(each)}
            if interval.power:
                line["rows_needed"] = find_rows_needed(each, comparisons=max(directed, 1))
            found.append(line)
    return found


def is_untuned(name: str) -> bool:
    """Returns whether a candidate is the untuned base, which is listed as a baseline."""
    return name == UNTUNED


def _round(value: Any) -> Any:
    """Rounds all floats, and replaces those that are not finite by `None`: JSON has no others."""
    if isinstance(value, dict):
        return {str(name): _round(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_round(each) for each in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def format_results(content: dict[str, Any]) -> str:
    """Returns the text of `metrics.json`."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
