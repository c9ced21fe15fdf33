"""Puts what was measured together as the content of `metrics.json`."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np

from lightning_med.evaluation.answer_metrics import AnswerMeasurer
from lightning_med.evaluation.baselines.baseline_answers import BaselineAnswers
from lightning_med.evaluation.baselines.names import DISCLAIMER, HUMAN, REFERENCE
from lightning_med.evaluation.candidates import Candidate
from lightning_med.evaluation.intervals.estimates import estimate_all
from lightning_med.evaluation.likelihood.row_likelihood import summarize_rows
from lightning_med.evaluation.measured_rows import ANSWERS, CANARIES, LIKELIHOOD, SAMPLED, MeasuredRows, Plan
from lightning_med.evaluation.memory.canaries import summarize_canaries
from lightning_med.evaluation.metric_list import SAMPLED as PREFIX
from lightning_med.evaluation.metric_list import find_metric
from lightning_med.evaluation.results.breakdowns import break_down, count_losses, count_words, list_edges
from lightning_med.evaluation.results.comparisons import (
    Interval,
    Measured,
    compare_pairs,
    list_incomparable,
    list_pairs,
)
from lightning_med.evaluation.results.findings import find_sentences
from lightning_med.evaluation.rows import Rows
from lightning_med.utils.console import Progress
from lightning_med.version import __version__

FORMAT = 1
_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn", "sacrebleu", "nltk", "torchmetrics")
_DIGITS = 10  # significant ones


def measure_candidate(
    candidate: Candidate,
    candidates: Sequence[Candidate],
    results: MeasuredRows,
    plan: Plan,
    measurer: AnswerMeasurer,
    progress: Progress,
) -> Measured:
    """Returns the statistics of a model from its measured rows."""
    found, own, rows = Measured(about=dict(candidate.description)), results.results, measurer.rows
    if LIKELIHOOD in plan.kinds:
        likelihood = own[candidate.name, LIKELIHOOD]
        found.statistics |= summarize_rows(likelihood)
        found.breakdown = break_down(likelihood, rows.references, rows.sources)
        found.distributions["row_nll"] = count_losses(likelihood)
        found.cut = np.array([row["cut"] for row in likelihood])
        found.infinite = int((~found.statistics["nll"].present).sum())
        found.about |= {"rows_cut": int(found.cut.sum()), "max_length": plan.limit_length(candidate)}
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
        decoding = plan.choose_decoding(kind, candidates, candidate)
        found.about[kind] = {"decoding": asdict(decoding), **measured.details}
    if plan.canaries:
        rest = ("model", "kind", "row")
        lines = own[candidate.name, CANARIES]
        found.canaries = summarize_canaries([{k: v for k, v in line.items() if k not in rest} for line in lines])
    return found


def measure_baselines(made: BaselineAnswers, measurer: AnswerMeasurer, progress: Progress) -> dict[str, Measured]:
    """Returns the statistics of baselines by name, and those of the references themselves, without their overlap."""
    found = {}
    all_answers: dict[str, Sequence[str | None]] = {**made.answers, REFERENCE: measurer.rows.references}
    for name, answers in all_answers.items():
        measured = measurer.measure(
            answers,
            None,
            lambda what, *counts, name=name: progress(f"{name}: {what}", *counts),
            is_training=name not in (HUMAN, REFERENCE),
        )
        found[name] = Measured(
            {
                metric: each
                for metric, each in measured.statistics.items()
                if name != REFERENCE or find_metric(metric).section != "overlap"
            },
            about=made.about.get(name, {}),
            distributions={"words": count_words(answers)},
        )
    return found


def make_results(
    rows: Rows,
    measured: dict[str, Measured],
    models: Sequence[str],
    settings: dict[str, Any],
    left_out: Sequence[str],
    doubts: Sequence[str],
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
        doubts: What makes figures doubtful.
        interval: Settings of the bootstrap.
        progress: Is told what is being done.
    """
    tables = {name: _estimate(each, rows, interval, progress) for name, each in measured.items()}
    pairs = list_pairs(measured, models)
    differences = compare_pairs(measured, pairs, rows, interval, progress)
    flags = {name: each.flags for name, each in measured.items() if each.flags}
    content = {
        "format": FORMAT,
        "disclaimer": DISCLAIMER,
        "findings": find_sentences(
            models, differences, flags, rows.count_groups(), [*doubts, *_find_doubts(measured, models)]
        ),
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
        | {"edges": list_edges()},
        "flags": flags,
        "canaries": {name: each.canaries for name, each in measured.items() if each.canaries},
        "left_out": [*left_out, *list_incomparable(measured, pairs)],
    }
    return _round(content)  # type: ignore[no-any-return]


def _estimate(measured: Measured, rows: Rows, interval: Interval, progress: Progress) -> dict[str, Any]:
    groups = rows.groups if measured.groups is None else measured.groups
    shares = [name for name in measured.statistics if find_metric(name).is_share]
    found = estimate_all(measured.statistics, groups, interval.seed, interval.draws, progress, shares)
    return {name: _bound(name, asdict(each)) for name, each in found.items()}


def _bound(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Keeps the interval of a jackknife within what the metric can be."""
    if find_metric(name).title.startswith(("Distinct", "Entropy")):
        entry["low"] = max(entry["low"], 0.0)
    return entry


def _find_doubts(measured: dict[str, Measured], models: Sequence[str]) -> list[str]:
    """Returns a sentence for each model that has no finite loss on some rows."""
    return [
        f"{name} has no finite loss on {measured[name].infinite:,} rows, which its likelihood leaves out."
        for name in models
        if measured[name].infinite
    ]


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
