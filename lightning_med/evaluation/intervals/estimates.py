"""Intervals of a model's metrics, by the bootstrap over groups of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_med.evaluation.intervals.draws import draw_counts
from lightning_med.evaluation.intervals.group_sums import compute_values, gather_names, round_to_grid, sum_groups
from lightning_med.evaluation.statistic import Statistic
from lightning_med.utils.console import Progress
from lightning_med.utils.shares import compute_share_interval

CONFIDENCE = 0.95
DRAWS = 10_000


@dataclass(frozen=True)
class Estimate:
    """A metric of one model.

    Attributes:
        value: On all rows that have one; NaN if none has.
        low: Of the 95 % interval; NaN if fewer than two groups have a value, or the value is not finite.
        high: Likewise.
        rows: How many have a value.
    """

    value: float
    low: float
    high: float
    rows: int


def estimate(
    statistic: Statistic,
    groups: np.ndarray,
    seed: int = 0,
    draws: int = DRAWS,
    progress: Progress | None = None,
) -> Estimate:
    """Returns a metric that is no share with its interval; see `estimate_all`."""
    return estimate_all({"": statistic}, groups, seed, draws, progress)[""]


def estimate_all(
    statistics: Mapping[str, Statistic],
    groups: np.ndarray,
    seed: int = 0,
    draws: int = DRAWS,
    progress: Progress | None = None,
    shares: Collection[str] = (),
) -> dict[str, Estimate]:
    """Returns metrics of a model with their 95 % intervals.

    Percentile bootstrap (Efron and Tibshirani, 1993, chapter 13) over groups: all rows of a group are drawn together,
    for rows that share a question are no independent evidence. A metric's rows without a value contribute nothing, and
    the groups drawn from are those with a row that has one. Samples on which a metric is undefined are left out. A
    metric's interval depends on no other metric, and bit for bit on no number of threads.

    Samples of rows that are all 0, or all 1, show no spread. A share that is 0 or 1 on all rows has the exact interval
    of a binomial share instead (Clopper and Pearson, 1934), with the groups as its trials.

    Args:
        statistics: By metric.
        groups: `[rows]`, int: the group of each row.
        seed: Of the draws.
        draws: Number of samples.
        progress: Receives the progress.
        shares: The metrics that are means of values from 0 to 1.

    Returns:
        By metric, in the same order.
    """
    gathered = gather_names((name, statistic.present) for name, statistic in statistics.items())
    found = {}
    for place, (names, rows) in enumerate(gathered):
        members = [statistics[name] for name in names]
        count = len(np.unique(groups[rows]))
        lows = highs = np.full(len(names), np.nan)
        if count > 1:
            blocks = []
            for block in resample(members, round_to_grid(sum_groups(members, rows, groups)), seed, draws):
                blocks.append(block)
                if progress:
                    done = place * draws + sum(block.shape[1] for block in blocks)
                    progress("intervals", done, len(gathered) * draws)
            lows, highs = find_intervals(np.concatenate(blocks, axis=1))
        for name, member, low, high in zip(names, members, lows.tolist(), highs.tolist(), strict=True):
            value = member.compute()
            if name in shares and value in (0, 1):
                low, high = compute_share_interval(round(value * count), count, CONFIDENCE)
            found[name] = Estimate(value, low, high, int(rows.sum()))
    return {name: found[name] for name in statistics}


def resample(statistics: Sequence[Statistic], sums: np.ndarray, seed: int, draws: int) -> Iterator[np.ndarray]:
    """Yields the values of statistics on samples of groups, in blocks `[statistics, some draws]`.

    Args:
        statistics: In the order of the columns.
        sums: `[groups, columns]`, rounded to a grid.
        seed: Of the draws.
        draws: Number of samples.
    """
    for counts in draw_counts(len(sums), draws, seed):
        with np.errstate(all="ignore"):
            totals = counts @ sums
        yield compute_values(statistics, totals)


def find_intervals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of percentile intervals, each `[statistics]`, of values `[statistics, draws]`."""
    tail = (1 - CONFIDENCE) / 2
    ends = [_find_quantiles(row[np.isfinite(row)], tail) for row in values]
    lows, highs = np.array(ends).T
    return lows, highs


def _find_quantiles(values: np.ndarray, tail: float) -> np.ndarray:
    return np.quantile(values, [tail, 1 - tail]) if len(values) else np.full(2, np.nan)
