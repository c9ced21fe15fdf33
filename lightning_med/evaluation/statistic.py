"""Metrics as sums over rows, so that their value on any set of rows, and so their intervals, need no text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Combine = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Statistic:
    """A metric of one model: its value on a set of rows is `combine` of the sums of their columns.

    Args:
        columns: `[rows, columns]`, float64; all NaN for a row that has no value.
        combine: Turns sums `[..., columns]` into values `[...]`; NaN where they are undefined.
    """

    columns: np.ndarray
    combine: Combine

    @property
    def present(self) -> np.ndarray:
        """`[rows]`, bool: whether a row has a value."""
        return ~np.isnan(self.columns).any(1)

    def compute(self) -> float:
        """Returns the value on all rows that have one; NaN where there is none."""
        with np.errstate(all="ignore"):
            return float(self.combine(self.columns[self.present].sum(0)))


def make_ratio(numerators: Sequence[float] | np.ndarray, denominators: Sequence[float] | np.ndarray) -> Statistic:
    """Returns a ratio of two sums over rows, for instance nats over tokens; both are `[rows]`, NaN for no value."""
    return Statistic(np.stack([np.asarray(numerators, float), np.asarray(denominators, float)], 1), divide)


def make_mean(values: Sequence[float] | np.ndarray) -> Statistic:
    """Returns a mean over rows; `values` is `[rows]`, NaN for no value."""
    values = np.asarray(values, float)
    return make_ratio(values, np.where(np.isnan(values), np.nan, 1.0))


def make_linearized(value: float, left_out: Sequence[float] | np.ndarray) -> Statistic:
    """Returns a metric that is no function of sums, such as a share of different words, by its jackknife.

    Its value on all rows is exact. On resampled rows it is the mean of centred pseudo-values (Efron and Tibshirani,
    1993, chapter 11): counting types on a sample with repetitions would be biased.

    Args:
        value: On all rows.
        left_out: `[rows]`, the value without each row; NaN for a row that has no value.
    """
    left_out = np.asarray(left_out, float)
    count = int((~np.isnan(left_out)).sum())
    influence = (count - 1) * (value - left_out)
    centred = influence - (np.nanmean(influence) if count else 0.0)
    return make_mean(value + centred)


def divide(sums: np.ndarray) -> np.ndarray:
    """Divides the first of two sums by the second, `[..., 2]`."""
    with np.errstate(all="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])
