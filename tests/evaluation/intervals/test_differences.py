"""Differences of two models: their intervals, tests, correction and verdicts."""

from __future__ import annotations

from itertools import product
from statistics import NormalDist

import numpy as np
import pytest

from lightning_med.evaluation.intervals.differences import compare
from lightning_med.evaluation.intervals.holm import adjust_p_values
from lightning_med.evaluation.metric_list import HIGHER, LOWER, NEITHER
from lightning_med.evaluation.statistic import make_mean, make_ratio
from tests.evaluation.intervals.helpers import AnyMetric, make_equal_pair


def test_holm_multiplies_by_the_tests_that_are_left() -> None:
    # sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and none below the one before
    assert adjust_p_values([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_p_values([0.5, 0.5, 0.9]) == pytest.approx([1, 1, 1])
    assert adjust_p_values([]).tolist() == []


def test_a_model_does_not_differ_from_itself() -> None:
    groups = np.arange(60) // 2
    model, _ = make_equal_pair(np.random.default_rng(0), groups, 0)
    for entry in compare(model, dict(model), groups, AnyMetric(), draws=300):
        assert (entry.value, entry.low, entry.high, entry.p, entry.adjusted_p, entry.error) == (0, 0, 0, 1, 1, 0)
        assert entry.verdict is None


def test_equal_models_get_few_verdicts() -> None:
    wrong = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        groups = np.arange(random.integers(50, 120)) if seed % 2 else np.repeat(np.arange(50), 2)
        pair = make_equal_pair(random, groups, alike=0.7 * (seed % 3 == 0))
        wrong += any(entry.verdict for entry in compare(*pair, groups, AnyMetric(), seed, draws=1_000))
    assert wrong <= 16


@pytest.mark.parametrize(("better", "verdict"), [(LOWER, "a"), (HIGHER, "b"), (NEITHER, None)])
def test_a_true_difference_is_found(better: str, verdict: str | None) -> None:
    random = np.random.default_rng(0)
    groups = np.arange(150)
    a, b = make_equal_pair(random, groups, 0.5)
    noise = random.normal(0.2, 0.5, (2, 150))
    a["lower"], b["lower"] = make_mean(noise[0]), make_mean(noise[0] + 0.2 + 0.2 * noise[1])
    by_metric = AnyMetric(lower=better)
    found = {entry.metric: entry for entry in compare(a, b, groups, by_metric)}
    entry = found["lower"]
    assert entry.low < entry.value < entry.high < 0
    assert entry.p < 0.001
    assert entry.verdict == verdict
    assert (entry.adjusted_p is None) == (better == NEITHER)
    assert all(other.verdict is None for name, other in found.items() if name != "lower")
    swapped = {entry.metric: entry for entry in compare(b, a, groups, by_metric)}["lower"]
    assert swapped.value == -entry.value
    assert swapped.verdict == (verdict and {"a": "b", "b": "a"}[verdict])


def test_a_metric_without_direction_costs_the_others_nothing() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(5, 60))
    a = {str(name): make_mean(row) for name, row in enumerate(values)}
    b = {name: make_mean(random.normal(size=60)) for name in a}
    directions = {"0": HIGHER, "1": LOWER, "2": NEITHER, "3": NEITHER, "4": NEITHER}
    entries = compare(a, b, np.arange(60), directions, draws=500)
    pair = [entry.p for entry in entries[:2]]
    assert [entry.adjusted_p for entry in entries] == [*adjust_p_values(pair), None, None, None]


def test_the_p_value_is_that_of_all_swaps() -> None:
    random = np.random.default_rng(7)
    nats, tokens = random.gamma(3, 1, (2, 9)), random.integers(1, 5, (2, 9))
    groups = np.arange(9)
    a, b = ({"nll": make_ratio(nats[model], tokens[model])} for model in (0, 1))
    entry = compare(a, b, groups, {"nll": LOWER}, draws=40_000)[0]
    apart = []
    for swap in product([0, 1], repeat=9):
        first, second = np.array(swap), 1 - np.array(swap)
        ratios = [nats[side, groups].sum() / tokens[side, groups].sum() for side in (first, second)]
        apart.append(abs(ratios[0] - ratios[1]))
    assert entry.value == pytest.approx(nats[0].sum() / tokens[0].sum() - nats[1].sum() / tokens[1].sum())
    assert entry.p == pytest.approx(np.mean(np.array(apart) >= apart[0] - 1e-12), abs=0.01)


def test_rows_of_a_group_are_swapped_together() -> None:
    values = np.random.default_rng(2).normal(0.3, 1, 40)
    p = []
    for repeats in (1, 5):
        a, b = {"mean": make_mean(np.repeat(values, repeats))}, {"mean": make_mean(np.zeros(40 * repeats))}
        p.append(compare(a, b, np.repeat(np.arange(40), repeats), {"mean": HIGHER}, draws=2_000)[0].p)
    assert p[0] == p[1]


def test_swaps_that_leave_a_difference_as_large_count() -> None:
    a, b = {"share": make_mean([0.1, 0.1, 0.3, 0.7])}, {"share": make_mean([0.1, 0.1, 0.3, 0.1])}
    assert compare(a, b, np.arange(4), {"share": LOWER}, draws=1_000)[0].p == 1  # one row differs: either sign


def test_the_interval_and_error_are_those_of_paired_rows() -> None:
    random = np.random.default_rng(5)
    shared, own = random.normal(0, 10, 300), random.normal(0, 1, (2, 300))
    a, b = ({"mean": make_mean(shared + own[model])} for model in (0, 1))
    entry = compare(a, b, np.arange(300), {"mean": HIGHER})[0]
    error = (own[0] - own[1]).std() / np.sqrt(300)
    assert entry.error == pytest.approx(error, rel=0.05)
    assert entry.high - entry.low == pytest.approx(2 * NormalDist().inv_cdf(0.975) * error, rel=0.05)


def test_only_rows_and_metrics_of_both_count() -> None:
    a = {"one": make_mean([1, 2, np.nan, 4]), "gone": make_mean([1, 2, 3, 4]), "none": make_mean([np.nan] * 4)}
    b = {"none": make_mean([1, 2, 3, 4]), "one": make_mean([np.nan, 1, 1, 1])}
    one, none = compare(a, b, np.arange(4), {"one": HIGHER, "none": HIGHER}, draws=200)
    assert (one.metric, one.value, one.rows) == ("one", 2, 2)
    assert (none.metric, none.rows, none.adjusted_p, none.verdict) == ("none", 0, None, None)
    assert np.isnan([none.value, none.low, none.high, none.p, none.error]).all()
    assert one.adjusted_p == one.p  # the other is no test


def test_one_group_decides_nothing() -> None:
    a, b = {"mean": make_mean([5, 6, 7])}, {"mean": make_mean([1, 1, 1])}
    entry = compare(a, b, np.zeros(3, int), {"mean": HIGHER}, draws=200)[0]
    assert (entry.value, entry.p, entry.verdict) == (5, 1, None)
    assert np.isnan([entry.low, entry.high, entry.error]).all()


def test_an_interval_with_zero_denies_a_verdict() -> None:
    random = np.random.default_rng(245)  # one of the few seeds on which interval and test disagree
    tokens = random.integers(1, 9, 12)
    a = {"nll": make_ratio(random.gamma(2, 1, 12), np.ones(12))}
    b = {"nll": make_ratio(tokens * random.gamma(1, 1, 12), tokens)}
    entry = compare(a, b, np.arange(12), {"nll": LOWER}, draws=5_000)[0]
    assert entry.adjusted_p is not None
    assert entry.adjusted_p < 0.04
    assert entry.low < -0.02 < 0 < entry.high
    assert entry.verdict is None


def test_comparisons_repeat_and_report_progress() -> None:
    groups = np.arange(80)
    a, b = make_equal_pair(np.random.default_rng(1), groups, 0)
    heard: list[tuple[int, int]] = []
    first = compare(a, b, groups, AnyMetric(), 6, 200, lambda _, done, total: heard.append((done, total)))
    assert first == compare(a, b, groups, AnyMetric(), 6, 200)
    assert first != compare(a, b, groups, AnyMetric(), 7, 200)
    assert [entry.metric for entry in first] == list(a)
    assert sorted(heard) == heard
    assert heard[-1] == (800, 800)  # two sets of rows, samples and swaps
