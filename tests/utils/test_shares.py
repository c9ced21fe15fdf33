"""Shares with their exact intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.utils.shares import compute_share_interval, format_share


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        (95, 100, 0.88717, 0.98357),  # R: binom.test(95, 100)
        (8, 10, 0.44390, 0.97479),
        (29, 55, 0.38804, 0.66347),
        (0, 20, 0, 0.16843),
        (20, 20, 0.83157, 1),
        (0, 0, 0, 1),
    ],
)
def test_the_interval_is_clopper_and_pearsons(hits: int, total: int, low: float, high: float) -> None:
    assert compute_share_interval(hits, total) == pytest.approx((low, high), abs=1e-5)


@given(st.integers(1, 3000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_is_that_of_the_beta_distribution(counts: tuple[int, int]) -> None:
    beta, (hits, total) = pytest.importorskip("scipy.stats").beta, counts
    low = beta.ppf(0.005, hits, total - hits + 1) if hits else 0
    high = beta.ppf(0.995, hits + 1, total - hits) if hits < total else 1
    assert compute_share_interval(hits, total, 0.99) == pytest.approx((low, high), abs=1e-9)


def test_a_share_is_written_with_hits_total_and_interval() -> None:
    assert format_share(29, 55) == "29 of 55: 52.7 % (38.8 to 66.3 %)"
    assert format_share(0, 20) == "0 of 20: 0.0 % (0.0 to 16.8 %)"
    assert format_share(1200, 1200) == "1,200 of 1,200: 100.0 % (99.7 to 100.0 %)"
    assert format_share(0, 0) == "none"
