"""Exact intervals for shares."""

from __future__ import annotations

from math import exp, lgamma, log


def clopper_pearson(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper & Pearson, 1934).

    Args:
        hits: Out of `total`, which is above 0.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _solved(lambda p: 1 - _at_most(hits - 1, total, p) - tail)
    high = 1.0 if hits == total else _solved(lambda p: tail - _at_most(hits, total, p))
    return low, high


def _at_most(hits: int, total: int, p: float) -> float:
    """The chance of so many hits or fewer."""
    if p <= 0 or p >= 1:
        return 1.0 if p <= 0 or hits >= total else 0.0
    whole = lgamma(total + 1)
    return sum(
        exp(whole - lgamma(k + 1) - lgamma(total - k + 1) + k * log(p) + (total - k) * log(1 - p))
        for k in range(hits + 1)
    )


def _solved(rising: object) -> float:
    """Where a function that rises over 0 … 1 is 0."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) < 0:  # type: ignore[operator]
            low = middle
        else:
            high = middle
    return (low + high) / 2
