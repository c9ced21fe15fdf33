"""benchmark_memory reads a fit's memory at each step and sums it up."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

GIB = 1 << 30


def test_growth_is_counted_from_step_10_and_speed_after_the_first_steps(script: Callable[[str], ModuleType]) -> None:
    resident = [1.0, 1.5, 2.0, *[2.0] * 7, 2.1, 1.9]
    rows = [[size * GIB, 100, 60, 5.0 * step] for step, size in enumerate(resident)]
    result = script("benchmark_memory").summarize(rows)
    assert result["resident_gib"] == {1: 1.0, 3: 2.0, 10: 2.0, 12: 1.9}
    assert result["peak_gib"] == pytest.approx(2.1)
    assert result["growth_after_step_10"] == pytest.approx(1.05)
    assert result["tokens_per_second"] == pytest.approx(20)
    assert result["useful_tokens_per_second"] == pytest.approx(12)


def test_fewer_steps_than_can_grow_are_refused(
    script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("benchmark_memory").main(["--base", "x", "--steps", "10"]) == 2
    assert "--steps" in capsys.readouterr().err
