"""Signals during a fit: finish the optimizer step, save, stop."""

from __future__ import annotations

import signal
from contextlib import suppress
from types import FrameType
from typing import Any

import lightning as L
import torch

from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.patches.command import forget_recorded_handler, requeue_slurm_job
from lightning_med.training.patches.loop import (
    call_between_batches,
    is_at_step_boundary,
    stop_between_batches,
    will_fit_end,
)
from lightning_med.utils.console import say
from lightning_med.utils.output import drop_lost_output
from lightning_med.utils.signals import Interrupted, restore_handlers, set_handlers


class SaveOnSignal(L.Callback):
    """On SIGINT, SIGTERM, SIGUSR1 or SIGHUP: saves after the current optimizer step and raises `Interrupted`.

    Every rank does. A second SIGINT ends the run at once; what was saved before is complete. In a thread, where Python
    allows no handlers, nothing is caught. Under SLURM the signal that announces the end of the job's time is passed on
    to Lightning's handler, which puts the job back into the queue.
    """

    def __init__(self) -> None:
        self._number = 0  # of the first signal received
        self._fitting = False
        self._handlers: dict[int, Any] = {}  # those that were set before

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._fitting, self._number = stage == "fit", 0
        if not self._handlers:
            self._handlers = set_handlers(self._receive)
        if self._fitting:
            call_between_batches(trainer, self._stop_if_asked)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        set_handlers(self._receive)  # the trainer has set its own by now

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        stop_between_batches(trainer, self._stop_if_asked)
        restore_handlers(self._handlers)
        self._handlers = {}

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        forget_recorded_handler(trainer, self._receive, self._handlers)  # it restores what it recorded after this
        self.teardown(trainer, pl_module, "fit")  # Lightning calls no teardown then

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self._fitting or (self._number and number == signal.SIGINT):
            raise Interrupted(number)
        self._number = self._number or number
        drop_lost_output()  # the terminal may have gone, or have ended the reader of a pipe

    def _stop_if_asked(self, trainer: L.Trainer) -> None:
        if not is_at_step_boundary(trainer):
            return
        number = self._number
        if trainer.world_size > 1:  # all ranks stop after the same step, whichever received the signal
            largest = torch.tensor(float(number), device=trainer.strategy.root_device)
            number = int(trainer.strategy.reduce(largest, reduce_op="max"))
        if not number:
            return
        writers: list[Any] = [one for one in trainer.callbacks if isinstance(one, Checkpoints) and one.folder]  # type: ignore[attr-defined]
        for checkpoints in writers:
            path = checkpoints.save(trainer)
            trainer.strategy.checkpoint_io.wait()  # type: ignore[attr-defined]
            name = signal.Signals(number).name
            with suppress(OSError):  # nobody may be there to read it
                say(f"Stopped by {name} after step {trainer.global_step}; saved {path}", trainer)
        if writers and not will_fit_end(trainer):
            requeue_slurm_job(trainer, number)
        raise Interrupted(number)
