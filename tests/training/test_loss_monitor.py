"""Non-finite losses and gradients end a fit in the step in which they occur."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_med.training.loss_monitor import LossMonitor
from lightning_med.utils.errors import RunError


def make_monitor() -> LossMonitor:
    return LossMonitor(lambda rows: f"table.csv, rows {rows}")


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (1.0, math.inf), (math.inf, math.nan)])
def test_a_non_finite_value_is_refused_with_its_rows_and_the_previous_norms(loss: float, norm: float) -> None:
    monitor = make_monitor()
    for step in (1, 2):
        monitor.add_batch(torch.tensor(0.5), [7], 100)
        monitor.check_step(step, torch.tensor(float(step)), scaled=False)
    monitor.add_batch(torch.tensor(loss), [3], 100)
    monitor.add_batch(torch.tensor(0.1), [4], 100)
    with pytest.raises(RunError, match=r"Step 3.*rows \[3, 4\].*before: 1, 2\.") as raised:
        monitor.check_step(3, torch.tensor(norm), scaled=False)
    assert raised.value.hint


def test_steps_that_a_scaler_skips_are_counted_until_there_are_too_many() -> None:
    monitor = make_monitor()
    for _ in range(3):
        monitor.check_step(1, torch.tensor(math.inf), scaled=True)
    monitor.check_step(2, torch.tensor(1.0), scaled=True)
    assert monitor.skipped == 3
    for _ in range(25):
        monitor.check_step(3, torch.tensor(math.inf), scaled=True)
    with pytest.raises(RunError):
        monitor.check_step(3, torch.tensor(math.inf), scaled=True)
    assert monitor.skipped == 28


def test_a_jump_of_the_loss_is_a_spike_and_a_falling_loss_is_not() -> None:
    monitor = make_monitor()
    assert not any(monitor.detect_spike(6.0 * 0.98**step) for step in range(60))
    assert monitor.detect_spike(9.0)
    assert monitor.spikes == 1


def test_a_resumed_fit_restores_the_monitors_state() -> None:
    monitor, resumed = make_monitor(), make_monitor()
    for step in range(8):
        monitor.check_step(step, torch.tensor(1.0 + step), scaled=False)
        monitor.detect_spike(3.0)
    resumed.restore(monitor.get_state())
    assert resumed.get_state() == monitor.get_state()
    assert resumed.detect_spike(9.0)
