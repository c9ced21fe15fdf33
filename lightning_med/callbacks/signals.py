"""Signals: a fit that is asked to stop finishes its step, saves and goes."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import lightning as L

from lightning_med.callbacks.checkpoints import LastCheckpoint
from lightning_med.console import say
from lightning_med.interrupts import CAUGHT, Interrupted
from lightning_med.model.optimization import stepped


class Signals(L.Callback):
    """On SIGINT, SIGTERM or SIGUSR1: saves `last.ckpt` after the step at hand and raises `Interrupted`.

    A second signal ends the run at once; what was saved before is whole.
    """

    def __init__(self) -> None:
        self._number = 0
        self._fitting = False
        self._before: dict[int, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._fitting = stage == "fit"
        if not self._before:
            self._before = {number: signal.signal(number, self._take) for number in CAUGHT}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for number in CAUGHT:  # the trainer has put its own in place by now
            signal.signal(number, self._take)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if stepped(trainer, batch_idx):
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop_if_asked(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: L.Trainer) -> None:
        if not self._number:
            return
        last = next(callback for callback in trainer.callbacks if isinstance(callback, LastCheckpoint))  # type: ignore[attr-defined]
        path = last.saved(trainer)
        say(f"Stopped by {signal.Signals(self._number).name} after step {trainer.global_step}; saved {path}", trainer)
        raise Interrupted(self._number)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._number or not self._fitting:
            raise Interrupted(number)
        self._number = number
