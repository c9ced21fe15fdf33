"""Differences between models, by the metrics that mean the same for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from lightning_med.evaluation.baselines.names import REFERENCE
from lightning_med.evaluation.intervals.differences import compare
from lightning_med.evaluation.intervals.estimates import DRAWS
from lightning_med.evaluation.intervals.power import find_rows_needed
from lightning_med.evaluation.metric_list import find_metric
from lightning_med.evaluation.results.findings import list_directions
from lightning_med.evaluation.rows import Rows
from lightning_med.evaluation.statistic import Statistic
from lightning_med.utils.console import Progress

ALL_TOKENS = ("all_tokens_nll", "all_tokens_perplexity")  # metrics that depend on the prompt
BY_TOKEN = ("nll", "perplexity", "row_perplexity", "first_tokens_nll", "later_tokens_nll", "end_nll", *ALL_TOKENS)


_MOST_NEEDED = 1_000_000  # rows; no table has more, and a difference that needs them is none


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
    cut: np.ndarray | None = None  # `[rows]`, bool, of a model whose likelihood is measured
    infinite: int = 0  # rows without a finite loss


@dataclass(frozen=True)
class Interval:
    """Settings of intervals and differences."""

    seed: int = 0
    draws: int = DRAWS
    power: bool = False


def list_pairs(measured: dict[str, Measured], models: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the models with each other, and each with the baselines on the same rows."""
    known = [name for name in measured if name not in models and measured[name].groups is None]
    baselines = [name for name in known if name != REFERENCE]
    return [*combinations(models, 2), *((model, baseline) for model in models for baseline in baselines)]


def compare_pairs(
    measured: dict[str, Measured],
    pairs: Sequence[tuple[str, str]],
    rows: Rows,
    interval: Interval,
    progress: Progress,
) -> list[dict[str, Any]]:
    found = []
    for a, b in pairs:
        progress(f"{a} against {b}", 0, 0)
        ours, theirs = _select_comparable(measured[a], measured[b])
        better = list_directions(list(ours))
        directed = sum(bool(better[name]) for name in ours)
        for each in compare(ours, theirs, rows.groups, better, interval.seed, interval.draws, progress):
            line = {"a": a, "b": b, **asdict(each)}
            if interval.power:
                needed = find_rows_needed(each, comparisons=max(directed, 1))
                line["rows_needed"] = needed if needed is not None and needed <= _MOST_NEEDED else None
            found.append(line)
    return found


def _select_comparable(a: Measured, b: Measured) -> tuple[dict[str, Statistic], dict[str, Statistic]]:
    """Returns the metrics that mean the same for both, by name, on rows that neither has cut."""
    shared = [name for name in a.statistics if name in b.statistics]
    if a.cut is None or b.cut is None:
        return {name: a.statistics[name] for name in shared}, {name: b.statistics[name] for name in shared}
    same = [name for name in shared if name not in BY_TOKEN or a.about["tokenizer"] == b.about["tokenizer"]]
    same = [name for name in same if name not in ALL_TOKENS or a.about["prompt"] == b.about["prompt"]]
    cut = a.cut | b.cut

    def drop(statistic: Statistic, name: str) -> Statistic:
        if find_metric(name).section != "likelihood":
            return statistic
        return Statistic(np.where(cut[:, None], np.nan, statistic.columns), statistic.combine)

    return (
        {name: drop(a.statistics[name], name) for name in same},
        {name: drop(b.statistics[name], name) for name in same},
    )


def list_incomparable(measured: dict[str, Measured], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Returns a sentence for each pair of models whose losses count different tokens or fewer rows."""
    found = []
    for a, b in pairs:
        one, other = measured[a], measured[b]
        if one.about.get("digest") and one.about["digest"] == other.about.get("digest"):
            found.append(f"A difference of {a} and {b}: their weights are the same.")
        if one.cut is None or other.cut is None:
            continue
        if one.about["tokenizer"] != other.about["tokenizer"]:
            found.append(
                f"Losses and perplexities of {a} against {b}: their tokenizers differ; bits per byte compare them."
            )
        elif one.about["prompt"] != other.about["prompt"]:
            found.append(f"Losses over all tokens of {a} against {b}: their prompts differ.")
        if (one.cut | other.cut).any():
            count = int((one.cut | other.cut).sum())
            found.append(f"Likelihood of {a} against {b} on {count:,} rows that one of them had to cut.")
    return found
