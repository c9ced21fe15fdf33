"""Draws of groups, and sums that are exact."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lightning_med.evaluation.intervals import draws
from lightning_med.evaluation.intervals.group_sums import round_to_grid, sum_groups
from lightning_med.evaluation.statistic import make_mean


def test_a_sample_has_as_many_groups_as_there_are() -> None:
    counts = np.concatenate(list(draws.draw_counts(7, 5_000, seed=3)))
    assert counts.shape == (5_000, 7)
    assert (counts.sum(1) == 7).all()
    assert counts.mean(0) == pytest.approx(np.ones(7), abs=0.06)
    assert counts.var(0) == pytest.approx(np.full(7, 6 / 7), abs=0.1)  # binomial, 7 draws with probability 1/7


def test_half_of_the_groups_are_swapped_independently() -> None:
    swaps = np.concatenate(list(draws.draw_swaps(11, 5_000, seed=3)))
    assert set(np.unique(swaps)) == {0.0, 1.0}
    assert swaps.mean(0) == pytest.approx(np.full(11, 0.5), abs=0.04)
    assert np.corrcoef(swaps.T) == pytest.approx(np.eye(11), abs=0.08)


@pytest.mark.parametrize("draw", [draws.draw_counts, draws.draw_swaps])
@pytest.mark.parametrize(("groups", "count"), [(3, 10), (1_000, 3_000), (3 * 2**20, 2)])
def test_blocks_are_bounded_and_complete(draw: object, groups: int, count: int) -> None:
    sizes = [len(block) for block in draw(groups, count, 0)]  # type: ignore[operator]
    assert sum(sizes) == count
    assert all(size * groups <= draws.CELLS or size == 1 for size in sizes)


def test_draws_are_those_of_the_seed() -> None:
    for draw in (draws.draw_counts, draws.draw_swaps):
        first, again, other = (np.concatenate(list(draw(20, 50, seed))) for seed in (1, 1, 2))
        assert (first == again).all()
        assert (first != other).any()


def test_totals_of_rounded_sums_are_exact() -> None:
    random = np.random.default_rng(0)
    sums = random.lognormal(0, 4, (500, 3)) * [1e-6, -1, 1e9]
    rounded = round_to_grid(sums)
    assert np.abs(rounded - sums).max(0) == pytest.approx(np.zeros(3), abs=1e-12 * np.abs(sums).max())
    counts = random.multinomial(500, np.full(500, 1 / 500), 20).astype(float)
    for draw, total in zip(counts, counts @ rounded, strict=True):
        exact = [sum(Fraction(x) * int(n) for x, n in zip(column, draw, strict=True)) for column in rounded.T]
        assert [Fraction(value) for value in total] == exact


def test_the_largest_entries_of_a_grid_are_exact_too() -> None:
    worst = np.full((4, 1), np.nextafter(1, 0))
    rounded = round_to_grid(worst)
    assert Fraction(float(rounded.sum())) == 4 * Fraction(float(rounded[0, 0]))
    assert (round_to_grid(np.arange(12.0).reshape(4, 3)) == np.arange(12).reshape(4, 3)).all()
    assert (round_to_grid(np.zeros((4, 1))) == 0).all()


def test_rows_are_summed_by_group() -> None:
    statistics = [make_mean([1, 2, 4, np.nan]), make_mean([10, 20, 40, 80])]
    sums = sum_groups(statistics, statistics[0].present, np.array([9, 5, 9, 7]))
    assert sums.tolist() == [[2, 1, 20, 1], [5, 2, 50, 2]]
