"""Intervals of a model's metrics."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from lightning_med.evaluation.intervals.estimates import Estimate, estimate, estimate_all
from lightning_med.evaluation.statistic import Statistic, make_mean, make_ratio
from tests.evaluation.intervals.helpers import make_equal_pair

Z = NormalDist().inv_cdf(0.975)


def draw_normal(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(5, 2, rows)


def test_the_interval_of_a_mean_is_the_analytical_one() -> None:
    values = draw_normal(400)
    found = estimate(make_mean(values), np.arange(400))
    error = values.std() / 20
    assert found.value == pytest.approx(values.mean(), rel=1e-12)
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - Z * error, values.mean() + Z * error), abs=0.1 * error
    )
    assert found.rows == 400


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(300):
        found = estimate(make_mean(draw_normal(80, seed)), np.arange(80), seed, 800)
        held += found.low <= 5 <= found.high
    assert 0.91 <= held / 300 <= 0.98


def test_rows_of_a_group_are_one_piece_of_evidence() -> None:
    values = draw_normal(100)
    alone = estimate(make_mean(values), np.arange(100))
    grouped = estimate(make_mean(np.repeat(values, 4)), np.repeat(np.arange(100), 4))
    loose = estimate(make_mean(np.repeat(values, 4)), np.arange(400))
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high), rel=1e-9)
    assert grouped.high - grouped.low == pytest.approx(2 * (loose.high - loose.low), rel=0.1)


def test_the_interval_of_a_ratio_is_that_of_the_ratio() -> None:
    random = np.random.default_rng(1)
    tokens = random.integers(1, 200, 500)
    nats = tokens * random.gamma(6, 0.5, 500)
    found = estimate(make_ratio(nats, tokens), np.arange(500))
    value = nats.sum() / tokens.sum()
    error = np.sqrt(((nats - value * tokens) ** 2).sum()) / tokens.sum()  # the delta method
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.high - found.low == pytest.approx(2 * Z * error, rel=0.05)


def test_rows_without_a_value_change_nothing() -> None:
    values = draw_normal(60)
    present = np.arange(60) % 3 > 0
    with_gaps = estimate(make_mean(np.where(present, values, np.nan)), np.arange(60) + 100)
    assert with_gaps == estimate(make_mean(values[present]), np.arange(40))
    assert with_gaps.rows == 40


@pytest.mark.parametrize(("values", "value"), [([np.nan] * 3, np.nan), ([np.nan, 2, 4], 3), ([1, np.inf, 2], np.inf)])
def test_no_interval_without_two_groups_or_a_finite_value(values: list[float], value: float) -> None:
    found = estimate(make_mean(values), np.array([0, 1, 1]), draws=100)
    assert found.value == pytest.approx(value, nan_ok=True)
    assert np.isnan([found.low, found.high]).all()
    assert found.rows == np.isfinite(values).sum() + np.isinf(values).sum()


def test_samples_on_which_a_metric_is_undefined_are_left_out() -> None:
    found = estimate(make_ratio([0, 0, 3, 0], [0, 0, 2, 0]), np.arange(4), draws=500)
    assert found == Estimate(1.5, 1.5, 1.5, 4)


def test_a_metric_is_estimated_alike_alone_beside_others_and_on_any_threads() -> None:
    groups = np.random.default_rng(2).integers(0, 150, 300)
    statistics, _ = make_equal_pair(np.random.default_rng(2), groups, 0)
    with threadpool_limits(1):
        together = estimate_all(statistics, groups, seed=4, draws=1_000)
        alone = {name: estimate(statistic, groups, 4, 1_000) for name, statistic in statistics.items()}
    with threadpool_limits(2):
        assert estimate_all(statistics, groups, 4, 1_000) == together == alone
    assert list(together) == list(statistics)
    assert estimate_all(statistics, groups, 5, 1_000) != together


def test_progress_reaches_the_end() -> None:
    heard: list[tuple[str, int, int]] = []
    statistics = {"one": make_mean(draw_normal(9)), "other": make_mean([np.nan, *draw_normal(8)])}
    estimate_all(statistics, np.arange(9), draws=50, progress=lambda *report: heard.append(report))
    assert heard == [("intervals", 50, 100), ("intervals", 100, 100)]


def test_any_function_of_sums_can_be_estimated() -> None:
    values = draw_normal(200)
    spread = Statistic(
        np.stack([values, values**2, np.ones(200)], 1),
        lambda sums: np.sqrt(sums[..., 1] / sums[..., 2] - (sums[..., 0] / sums[..., 2]) ** 2),
    )
    found = estimate(spread, np.arange(200))
    assert found.value == pytest.approx(values.std())
    assert found.high - found.low == pytest.approx(2 * Z * values.std() / 20, rel=0.15)


def test_a_share_that_no_row_has_may_still_be_above_zero() -> None:
    groups = np.arange(60) // 2
    none, every = make_mean(np.zeros(60)), make_mean(np.ones(60))
    metrics = {"none": none, "all": every, "some": make_mean(groups < 3), "words": none}
    found = estimate_all(metrics, groups, draws=500, shares=("none", "all", "some"))
    assert (1 - found["none"].high) ** 30 == pytest.approx(0.025)  # 30 groups without it are as rare as that
    assert found["none"].low == 0
    assert (found["all"].low, found["all"].high) == (1 - found["none"].high, 1)
    assert found["some"] == estimate(metrics["some"], groups, draws=500)
    assert (found["words"].low, found["words"].high) == (0, 0)
