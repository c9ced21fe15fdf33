"""How many rows a difference needs, and which difference the rows can show."""

from __future__ import annotations

from math import ceil, isfinite, log2
from statistics import NormalDist

from lightning_med.evaluation.intervals.differences import ALPHA, TIE, Difference

POWER = 0.8


def find_rows_needed(
    difference: Difference, alpha: float = ALPHA, power: float = POWER, comparisons: int = 1
) -> int | None:
    """Returns how many rows like these would find a difference of the observed size.

    Normal approximation with the bootstrap's standard error, which shrinks with the root of the number of rows:
    rows * ((z(1 - level / 2) + z(power)) * error / value)^2. The true difference is not the observed one: the number
    says which order of size it takes, and is no proof that there is a difference.

    Args:
        difference: The observed one.
        alpha: Chance of any verdict on equal models.
        power: Chance to find the difference.
        comparisons: Metrics with a direction that are compared along. Each is tested at least at the level
            `alpha / comparisons`, Holm's strictest, so that more rows are never needed; 1 for a metric chosen alone.

    Returns:
        The number of rows; None where the difference is 0 or has no standard error.
    """
    if difference.value == 0 or not isfinite(difference.value) or not isfinite(difference.error):
        return None
    level = alpha / comparisons
    ratio = _find_distance(level, power) * difference.error / difference.value
    fewest = 1 - log2(level)  # swapping n groups gives no p-value below 2^(1 - n)
    return ceil(max(difference.rows * ratio**2, fewest))


def find_detectable(
    difference: Difference, alpha: float = ALPHA, power: float = POWER, comparisons: int = 1
) -> float | None:
    """Returns the smallest true difference that these rows would find; the arguments are those of `find_rows_needed`.

    Returns:
        Its absolute value; None without a standard error, or where the models differ alike in all groups.
    """
    if not isfinite(difference.error) or difference.error <= TIE * abs(difference.value):
        return None
    return _find_distance(alpha / comparisons, power) * difference.error


def _find_distance(level: float, power: float) -> float:
    """Returns how many standard errors a difference must be from 0."""
    normal = NormalDist()
    return normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)
