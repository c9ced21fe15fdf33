"""Signals: a fit that is asked to stop finishes its step, saves and goes."""

from __future__ import annotations

import signal
from functools import partial
from types import FrameType
from typing import Any

import lightning as L
import torch

from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.lightning_patches import call_between_batches, is_at_step_boundary, is_fit_done
from lightning_med.utils.console import say
from lightning_med.utils.signals import CAUGHT, Interrupted


class SaveOnSignal(L.Callback):
    """On SIGINT, SIGTERM or SIGUSR1: saves after the optimizer step at hand and raises `Interrupted`, on every rank.

    A second SIGINT ends the run at once; what was saved before is whole. Under SLURM the signal that announces the end
    of the job's time goes on to Lightning's own handler, which puts the job into the queue again.
    """

    def __init__(self) -> None:
        self._number = 0
        self._fitting = False
        self._before: dict[int, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._fitting = stage == "fit"
        if not self._before:
            self._before = {number: signal.signal(number, self._take) for number in CAUGHT}
        if self._fitting:
            call_between_batches(trainer, partial(self._stop_if_asked, trainer))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for number in CAUGHT:  # the trainer has put its own in place by now
            signal.signal(number, self._take)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _stop_if_asked(self, trainer: L.Trainer) -> None:
        if not is_at_step_boundary(trainer):
            return
        number = self._number
        if trainer.world_size > 1:  # all stop after the same step, whichever was asked
            asked = torch.tensor(float(number), device=trainer.strategy.root_device)
            number = int(trainer.strategy.reduce(asked, reduce_op="max"))
        if not number:
            return
        found: list[Any] = [one for one in trainer.callbacks if isinstance(one, Checkpoints) and one.folder]  # type: ignore[attr-defined]
        for checkpoints in found:
            path = checkpoints.save(trainer)
            trainer.strategy.checkpoint_io.wait()  # type: ignore[attr-defined]
            name = signal.Signals(number).name
            say(f"Stopped by {name} after step {trainer.global_step}; saved {path}", trainer)
        if found and not is_fit_done(trainer):
            self._requeue(trainer, number)
        raise Interrupted(number)

    @staticmethod
    def _requeue(trainer: L.Trainer, number: int) -> None:
        from lightning.fabric.plugins.environments import SLURMEnvironment

        environment: Any = trainer._accelerator_connector.cluster_environment
        if not isinstance(environment, SLURMEnvironment) or not environment.auto_requeue:
            return
        if number == (environment.requeue_signal or signal.SIGUSR1):
            # It would also write a checkpoint beside all runs, which any later job there would begin from.
            trainer.save_checkpoint = lambda *args, **kwargs: None  # type: ignore[method-assign]
            trainer._signal_connector._slurm_sigusr_handler_fn(number, None)  # type: ignore[arg-type]

    def _take(self, number: int, frame: FrameType | None) -> None:
        if not self._fitting or (self._number and number == signal.SIGINT):
            raise Interrupted(number)
        self._number = self._number or number
