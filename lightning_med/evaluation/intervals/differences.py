"""Differences of two models on the same rows: intervals, tests, and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightning_med.evaluation.intervals.draws import draw_swaps
from lightning_med.evaluation.intervals.estimates import DRAWS, find_intervals, resample
from lightning_med.evaluation.intervals.group_sums import compute_values, gather_names, round_to_grid, sum_groups
from lightning_med.evaluation.intervals.holm import adjust_p_values
from lightning_med.evaluation.metric_list import HIGHER, NEITHER
from lightning_med.evaluation.statistic import Statistic
from lightning_med.utils.console import Progress

ALPHA = 0.05
TIE = 1e-10  # of the values: swapped differences this close to the observed one are equal to it but for rounding


@dataclass(frozen=True)
class Difference:
    """A metric of model a minus that of model b, on the rows where both have a value.

    Attributes:
        metric: Its name.
        value: The difference; NaN if it is undefined.
        low: Of its 95 % interval; NaN if fewer than two groups have a value.
        high: Likewise.
        p: Two-sided; NaN where `value` is.
        adjusted_p: For all metrics of the pair; None for a metric without a better direction or without a p-value.
        rows: How many have a value of both.
        verdict: The better model, "a" or "b"; None where that is open.
        error: Standard error of `value`, of the bootstrap; NaN where `low` is.
    """

    metric: str
    value: float
    low: float
    high: float
    p: float
    adjusted_p: float | None
    rows: int
    verdict: str | None
    error: float


def compare(
    a: Mapping[str, Statistic],
    b: Mapping[str, Statistic],
    groups: np.ndarray,
    better: Mapping[str, str],
    seed: int = 0,
    draws: int = DRAWS,
    progress: Progress | None = None,
) -> list[Difference]:
    """Compares two models by the metrics that both have.

    The interval comes from the paired bootstrap: the same groups are drawn for both. The p-value comes from the paired
    permutation test (Noreen, "Computer-intensive methods for testing hypotheses", 1989): the models are swapped in a
    random half of the groups. It is exact where the models' answers could be exchanged. A bootstrap's own p-value is
    too small on few groups, above all far in the tail, where Holm's correction looks.

    A verdict needs both an adjusted p-value below 0.05 and an interval without 0, so that no page shows a verdict
    beside an interval that denies it. P-values are at least 1 / (draws + 1): with fewer than 20 draws for each metric
    that has a direction there can be no verdict.

    Args:
        a: The first model's statistics by metric.
        b: The second model's, on the same rows.
        groups: `[rows]`, int: the group of each row.
        better: The better direction of each metric: `HIGHER`, `LOWER` or `NEITHER`.
        seed: Of the draws.
        draws: Number of samples, and of swaps.
        progress: Receives the progress.

    Returns:
        In the order of a's metrics.
    """
    gathered = gather_names((name, a[name].present & b[name].present) for name in a if name in b)
    found: dict[str, Difference] = {}
    for place, (names, rows) in enumerate(gathered):

        def advance(done: int, place: int = place) -> None:
            if progress:
                progress("differences", place * 2 * draws + done, len(gathered) * 2 * draws)

        pairs = [a[name] for name in names], [b[name] for name in names]
        for difference in _compare_rows(names, *pairs, rows, groups, seed, draws, advance):
            found[difference.metric] = difference
    differences = [found[name] for name in a if name in b]
    tested = [entry for entry in differences if better[entry.metric] != NEITHER and not np.isnan(entry.p)]
    adjusted = adjust_p_values([entry.p for entry in tested]).tolist()
    for entry, p in zip(tested, adjusted, strict=True):
        verdict = _judge(entry, p, better[entry.metric])
        found[entry.metric] = replace(entry, adjusted_p=p, verdict=verdict)
    return [found[entry.metric] for entry in differences]


def _judge(difference: Difference, adjusted_p: float, better: str) -> str | None:
    """Returns the better model, or None where that is open."""
    if adjusted_p >= ALPHA or not (difference.low > 0 or difference.high < 0):
        return None
    return "a" if (difference.value > 0) == (better == HIGHER) else "b"


def _compare_rows(
    names: Sequence[str],
    a: Sequence[Statistic],
    b: Sequence[Statistic],
    rows: np.ndarray,
    groups: np.ndarray,
    seed: int,
    draws: int,
    advance: Callable[[int], None],
) -> list[Difference]:
    """Compares by metrics whose rows are the same; without correction and verdict."""
    count = len(names)
    values = np.array([_compute(one, rows) - _compute(other, rows) for one, other in zip(a, b, strict=True)])
    lows = highs = errors = p = np.full(count, np.nan)
    if rows.any():
        both = np.concatenate([sum_groups(a, rows, groups), sum_groups(b, rows, groups)])
        a_sums, b_sums = np.split(round_to_grid(both), 2)  # one grid: swapped sums are exact too
        if len(a_sums) > 1:
            blocks = []
            for block in resample([*a, *b], np.concatenate([a_sums, b_sums], axis=1), seed, draws):
                with np.errstate(all="ignore"):
                    blocks.append(block[:count] - block[count:])
                advance(sum(block.shape[1] for block in blocks))
            sampled = np.concatenate(blocks, axis=1)
            lows, highs = find_intervals(sampled)
            errors = np.array([_find_error(row[np.isfinite(row)]) for row in sampled])
        p = _test_swaps(a, b, a_sums, b_sums, seed, draws, lambda done: advance(draws + done))
        p = np.where(np.isfinite(values), p, np.nan)
    columns = (array.tolist() for array in (values, lows, highs, p, errors))
    return [
        Difference(name, value, low, high, p_value, None, int(rows.sum()), None, error)
        for name, value, low, high, p_value, error in zip(names, *columns, strict=True)
    ]


def _test_swaps(
    a: Sequence[Statistic],
    b: Sequence[Statistic],
    a_sums: np.ndarray,
    b_sums: np.ndarray,
    seed: int,
    draws: int,
    advance: Callable[[int], None],
) -> np.ndarray:
    """Returns two-sided p-values `[statistics]` of the paired permutation test; swaps that are undefined count."""
    a_total, b_total, change = a_sums.sum(0), b_sums.sum(0), b_sums - a_sums
    a_value, b_value = compute_values(a, a_total[None])[:, 0], compute_values(b, b_total[None])[:, 0]
    extreme, done = np.ones(len(a)), 0
    with np.errstate(all="ignore"):
        least = np.abs(a_value - b_value) - TIE * np.maximum(np.abs(a_value), np.abs(b_value))
        for swapped in draw_swaps(len(change), draws, seed):
            moved = swapped @ change
            apart = np.abs(compute_values(a, a_total + moved) - compute_values(b, b_total - moved))
            extreme += (~(apart < least[:, None])).sum(1)
            done += len(swapped)
            advance(done)
    return extreme / (1 + draws)


def _compute(statistic: Statistic, rows: np.ndarray) -> float:
    return Statistic(statistic.columns[rows], statistic.combine).compute() if rows.any() else float("nan")


def _find_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
