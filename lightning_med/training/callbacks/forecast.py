"""Estimates of what a fit will take: steps, memory, disk, and, once measured, time."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import lightning as L
import numpy as np

from lightning_med.utils.console import say

_WARM_UP, _MEASURED = 2, 8  # steps before the clock starts, and steps that it measures
_WORTH_SAYING = 20  # seconds


class Forecast(L.Callback):
    """Prints the size of a fit at its start, and after a few steps how long it will take."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._first_step = self._total_steps = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._start = None
        parameters = sum(p.numel() for p in pl_module.parameters())
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._first_step, self._total_steps = trainer.global_step, pl_module.total_steps
        rows = np.concatenate(data.plan_epoch(0))  # as often as the sources' weights say
        say(
            f"{len(rows):,} consultations, {int(data.store('train').lengths[rows].sum()):,} tokens an epoch;"
            f" {self._total_steps - self._first_step:,} steps; {parameters / 1e6:.1f} M weights:"
            f" {parameters * 16 / 2**30:.2f} GiB with gradients and optimizer, beside a batch's activations;"
            f" {parameters * 24 / 2**30:.2f} GiB of disk for two checkpoints.",
            trainer,
        )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = trainer.global_step - self._first_step
        if done == _WARM_UP and self._start is None:
            self._start = time.perf_counter()
        elif done == _WARM_UP + _MEASURED and self._start is not None:
            left = self._total_steps - trainer.global_step
            seconds, self._start = (time.perf_counter() - self._start) / _MEASURED * left, None
            if seconds > _WORTH_SAYING:
                text = str(timedelta(seconds=round(seconds)))
                say(f"About {text} of training to go, validation left out.", trainer)
