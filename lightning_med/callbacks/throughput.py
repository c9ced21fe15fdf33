"""Throughput: useful tokens a second, and what a fit will take."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import lightning as L
import numpy as np

from lightning_med.console import say
from lightning_med.model.optimization import stepped


class Throughput(L.Callback):
    """Logs `train/tokens_per_second`: tokens of questions and answers, no prompt, no padding, validation left out."""

    def __init__(self) -> None:
        self._tokens, self._seconds, self._since = 0, 0.0, 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = time.perf_counter()  # a fit that goes on in mid-epoch has no epoch's start

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._seconds += time.perf_counter() - self._since

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self._seconds, self._since = self._seconds + now - self._since, now
        self._tokens += len(batch["targets"])
        if not stepped(trainer, batch_idx) or trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        pl_module.log("train/tokens_per_second", self._tokens / max(self._seconds, 1e-9), prog_bar=True)
        self._tokens, self._seconds = 0, 0.0


class Forecast(L.Callback):
    """Says at the start of a fit what it will take: steps, memory of the weights, disk, and, once measured, time."""

    _warm, _measured = 2, 8  # steps before the clock starts, and before it is read

    def __init__(self) -> None:
        self._start = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        parameters = sum(p.numel() for p in pl_module.parameters())
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._first, self._total = trainer.global_step, pl_module.total_steps
        rows = np.concatenate(data.epoch_plan(0))  # as often as the sources' weights say
        say(
            f"{len(rows):,} consultations, {int(data.store('train').lengths[rows].sum()):,} tokens an epoch;"
            f" {self._total - self._first:,} steps; {parameters / 1e6:.1f} M weights:"
            f" {parameters * 16 / 2**30:.2f} GiB with gradients and optimizer, beside a batch's activations;"
            f" {parameters * 24 / 2**30:.2f} GiB of disk for two checkpoints.",
            trainer,
        )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = trainer.global_step - self._first
        if done == self._warm and not self._start:
            self._start = time.perf_counter()
        elif done == self._warm + self._measured and self._start:
            seconds = (time.perf_counter() - self._start) / self._measured * (self._total - trainer.global_step)
            self._start = -1.0
            if seconds > 20:
                text = str(timedelta(seconds=round(seconds)))
                say(f"About {text} of training to go, validation left out.", trainer)
