"""Correction of p-values for the number of tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def adjust_p_values(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns adjusted p-values: rejecting those below a level errs at all with at most that probability.

    Holm's step-down procedure ("A simple sequentially rejective multiple test procedure", 1979), which holds however
    the tests depend on each other.

    Args:
        values: `[tests]`, p-values.
    """
    values = np.asarray(values, float)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return adjusted
