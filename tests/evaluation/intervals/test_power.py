"""Rows that a difference needs, and the difference that rows can show."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_med.evaluation.intervals.differences import Difference, compare
from lightning_med.evaluation.intervals.power import find_detectable, find_rows_needed
from lightning_med.evaluation.metric_list import HIGHER
from lightning_med.evaluation.statistic import make_mean


def make_difference(value: float, error: float, rows: int = 100) -> Difference:
    return Difference("mean", value, value - 2 * error, value + 2 * error, 0.5, None, rows, None, error)


def test_rows_and_detectable_difference_are_those_of_the_formula() -> None:
    found = make_difference(0.3, 0.1)
    # z .975 = 1.959964, z .8 = 0.841621: 100 * (2.801585 * .1 / .3)^2 = 87.2
    assert find_rows_needed(found) == 88
    assert find_detectable(found) == pytest.approx(0.2801585)
    # ten metrics: z .9975 = 2.807034; power .9: z = 1.281552: 100 * (4.088586 / 3)^2 = 185.7
    assert find_rows_needed(found, power=0.9, comparisons=10) == 186
    assert find_rows_needed(make_difference(-0.3, 0.1)) == 88
    assert find_detectable(make_difference(find_detectable(found) or 0, 0.1)) == pytest.approx(0.2801585)


def test_that_many_rows_find_it_as_often_as_said() -> None:
    random = np.random.default_rng(0)
    rows = find_rows_needed(make_difference(0.3, 0.1))
    assert rows is not None
    won = 0
    for seed in range(300):
        a, b = {"mean": make_mean(random.normal(0.3, 1, rows))}, {"mean": make_mean(np.zeros(rows))}
        won += compare(a, b, np.arange(rows), {"mean": HIGHER}, seed, 500)[0].verdict == "a"
    assert 0.72 <= won / 300 <= 0.88


def test_rows_of_a_group_need_more_rows() -> None:
    values = np.random.default_rng(0).normal(0.2, 1, 100)
    needed = []
    for repeats in (1, 4):
        a, b = {"mean": make_mean(np.repeat(values, repeats))}, {"mean": make_mean(np.zeros(100 * repeats))}
        entry = compare(a, b, np.repeat(np.arange(100), repeats), {"mean": HIGHER}, draws=2_000)[0]
        needed.append(find_rows_needed(entry) or 0)
    assert needed[1] == pytest.approx(4 * needed[0], abs=4)


@pytest.mark.parametrize(("value", "error"), [(0, 0.1), (np.nan, 0.1), (0.1, np.nan)])
def test_no_number_of_rows_without_a_difference_or_an_error(value: float, error: float) -> None:
    assert find_rows_needed(make_difference(value, error)) is None


@pytest.mark.parametrize(("value", "error"), [(0, 0), (0.5, 0), (0.5, 1e-17), (0.1, np.nan)])
def test_rows_that_all_agree_say_nothing_on_what_is_detectable(value: float, error: float) -> None:
    assert find_detectable(make_difference(value, error)) is None


def test_a_constant_difference_needs_as_many_rows_as_swaps_need() -> None:
    assert find_rows_needed(make_difference(0.5, 0)) == 6  # 2^(1 - 6) is below .05, 2^(1 - 5) is not
