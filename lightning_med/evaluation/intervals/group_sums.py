"""Sums of rows by group, and values of statistics from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lightning_med.evaluation.statistic import Statistic


def sum_groups(statistics: Sequence[Statistic], rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns the sums of some rows by group, the columns of all statistics side by side.

    Args:
        statistics: Each with a value on each of the rows.
        rows: `[rows]`, bool: which rows.
        groups: `[rows]`, int: the group of each row.

    Returns:
        `[groups, columns]`, float64; groups without a row are left out.
    """
    columns = np.concatenate([statistic.columns[rows] for statistic in statistics], axis=1)
    names, places = np.unique(groups[rows], return_inverse=True)
    return np.stack([np.bincount(places, column, len(names)) for column in columns.T], axis=1)


def round_to_grid(sums: np.ndarray) -> np.ndarray:
    """Rounds each column to multiples of a power of two, so fine that any total of as many entries is exact.

    A matrix product adds in an order that depends on the machine, its threads and the shapes. Exact additions give
    the same bits in any order. Counts stay what they are; of other columns the largest entry keeps 52 bits less the
    logarithm of the number of entries, 38 for 10,000.

    Args:
        sums: `[entries, columns]`.
    """
    with np.errstate(all="ignore"):
        _, exponents = np.frexp(np.abs(sums).max(axis=0))
        shifts = 53 - exponents - len(sums).bit_length()  # totals are below 2^53 steps of the grid
        return np.ldexp(np.rint(np.ldexp(sums, shifts)), -shifts)


def compute_values(statistics: Sequence[Statistic], totals: np.ndarray) -> np.ndarray:
    """Returns the value of each statistic at each total, `[statistics, draws]`; NaN where it is undefined.

    Args:
        statistics: In the order of the columns.
        totals: `[draws, columns]`.
    """
    edges = np.cumsum([statistic.columns.shape[1] for statistic in statistics])[:-1]
    parts = zip(statistics, np.split(totals, edges, axis=1), strict=True)
    with np.errstate(all="ignore"):
        return np.stack([statistic.combine(np.ascontiguousarray(part)) for statistic, part in parts])


def gather_names(present: Iterable[tuple[str, np.ndarray]]) -> list[tuple[list[str], np.ndarray]]:
    """Gathers the names that have a value on the same rows, `[rows]`, bool, so that they share their draws."""
    gathered: dict[bytes, tuple[list[str], np.ndarray]] = {}
    for name, rows in present:
        gathered.setdefault(rows.tobytes(), ([], rows))[0].append(name)
    return list(gathered.values())
