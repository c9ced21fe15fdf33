"""Exact confidence intervals of shares."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, lgamma, log


def compute_interval(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the exact interval of a share (Clopper and Pearson, 1934).

    Args:
        hits: Out of `total`.
        total: Above 0.
        confidence: Between 0 and 1.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _find_root(lambda p: 1 - _compute_cdf(hits - 1, total, p) - tail)
    high = 1.0 if hits == total else _find_root(lambda p: tail - _compute_cdf(hits, total, p))
    return low, high


def _compute_cdf(hits: int, total: int, p: float) -> float:
    """The binomial probability of at most so many hits."""
    if p <= 0 or p >= 1:
        return 1.0 if p <= 0 or hits >= total else 0.0
    whole = lgamma(total + 1)
    return sum(
        exp(whole - lgamma(k + 1) - lgamma(total - k + 1) + k * log(p) + (total - k) * log(1 - p))
        for k in range(hits + 1)
    )


def _find_root(function: Callable[[float], float]) -> float:
    """The root of an increasing function between 0 and 1, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
