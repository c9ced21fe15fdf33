"""Numbers that are none end a fit in the step in which they come."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_med.training.loss_monitor import LossMonitor
from lightning_med.utils.errors import RunError


def numbers() -> LossMonitor:
    return LossMonitor(lambda rows: f"table.csv, rows {rows}")


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (1.0, math.inf), (math.inf, math.nan)])
def test_what_is_no_number_is_refused_with_the_rows_and_the_norms_before(loss: float, norm: float) -> None:
    watch = numbers()
    for step in (1, 2):
        watch.batch(torch.tensor(0.5), [7], 100)
        watch.step(step, torch.tensor(float(step)), scaled=False)
    watch.batch(torch.tensor(loss), [3], 100)
    watch.batch(torch.tensor(0.1), [4], 100)
    with pytest.raises(RunError, match=r"Step 3.*rows \[3, 4\].*before: 1, 2\.") as raised:
        watch.step(3, torch.tensor(norm), scaled=False)
    assert raised.value.hint


def test_steps_that_a_scaler_skips_are_counted_until_there_are_too_many() -> None:
    watch = numbers()
    for _ in range(3):
        watch.step(1, torch.tensor(math.inf), scaled=True)
    watch.step(2, torch.tensor(1.0), scaled=True)
    assert watch.skipped == 3
    for _ in range(25):
        watch.step(3, torch.tensor(math.inf), scaled=True)
    with pytest.raises(RunError):
        watch.step(3, torch.tensor(math.inf), scaled=True)
    assert watch.skipped == 28


def test_a_jump_of_the_loss_is_seen_and_a_falling_loss_is_not() -> None:
    watch = numbers()
    assert not any(watch.spiked(6.0 * 0.98**step) for step in range(60))
    assert watch.spiked(9.0)
    assert watch.spikes == 1


def test_a_resumed_fit_knows_what_came_before() -> None:
    watch, again = numbers(), numbers()
    for step in range(8):
        watch.step(step, torch.tensor(1.0 + step), scaled=False)
        watch.spiked(3.0)
    again.restore(watch.state())
    assert again.state() == watch.state()
    assert again.spiked(9.0)
