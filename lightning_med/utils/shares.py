"""Shares with their exact confidence intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_HALVINGS = 53  # of the bisection: to a double's precision


def compute_share_interval(hits: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the exact interval of a binomial share (Clopper and Pearson, 1934), both ends from 0 to 1.

    Args:
        hits: Out of `total`.
        total: Number of trials; of none, nothing is known: 0 to 1.
        confidence: Between 0 and 1.
    """
    if total == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    distance = 1 - tail ** (1 / total)  # between the ends, where all trials are alike
    if hits == 0:
        return 0.0, distance
    if hits == total:
        return 1 - distance, 1.0
    k = np.arange(total)
    log_ways = np.append(0.0, np.log((total - k) / (k + 1)).cumsum()[:-1])  # to have k hits

    def compute_at_most(count: int, share: float) -> float:
        terms = log_ways + k * np.log(share) + (total - k) * np.log1p(-share)
        return float(np.exp(terms[: count + 1]).sum())

    low = _find_root(lambda share: 1 - compute_at_most(hits - 1, share) - tail)
    return low, _find_root(lambda share: tail - compute_at_most(hits, share))


def _find_root(function: Callable[[float], float]) -> float:
    """Returns the root of an increasing function between 0 and 1, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2


def format_share(hits: int, total: int) -> str:
    """Returns a share with its exact 95 % interval as text: `29 of 55: 52.7 % (38.8 to 66.3 %)`; `none` of none."""
    if not total:
        return "none"
    low, high = compute_share_interval(hits, total)
    return f"{hits:,} of {total:,}: {100 * hits / total:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"
