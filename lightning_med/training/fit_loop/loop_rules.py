"""Rules of Lightning's training loop that keep a run exact and resumable, whatever options it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer

from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.fit_loop.fit_end import is_out_of_time
from lightning_med.training.patches.loop import (
    call_between_batches,
    choose_judgement,
    has_epoch_ended,
    is_at_step_boundary,
    judge_now,
    judges_at_epoch_end,
    leave_out_judgement,
    restore_judgement,
    restore_metrics,
    restore_validation,
    stop_between_batches,
    validate_at_step_ends,
)
from lightning_med.training.register.monitors import LOGGED, VALIDATION, check_monitors
from lightning_med.utils.console import say

MODEL_CHECKPOINTS = "model_checkpoints"  # folder of Lightning's ModelCheckpoint in a run


class LoopRules(L.Callback):
    """Makes each stop and validation of a fit wait for the end of its optimizer step, from where a run can resume.

    Early stopping that judges at an epoch's end does so before its last step is saved, so that its verdict is in the
    checkpoint; Lightning would call it afterwards.
    """

    def __init__(self) -> None:
        self._is_to_stop = False
        self._judges: list[EarlyStopping] = []  # at the end of an epoch
        self._first_step = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        check_monitors(trainer, logs_more=True, validation_rows=len(trainer.datamodule.store("validation")))  # type: ignore[attr-defined]
        pl_module.begin_fit()  # type: ignore[operator]
        validate_at_step_ends(trainer)
        self._is_to_stop, self._judges = False, [one for one in _list_judges(trainer) if judges_at_epoch_end(one)]
        for judge in self._judges:
            leave_out_judgement(judge)
        call_between_batches(trainer, self._end_batch, first=True)

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        # A fit that resumes within an epoch has no start of it, where a GradientAccumulationScheduler would set this.
        if isinstance(window := getattr(trainer.datamodule, "window", None), int):  # type: ignore[attr-defined]
            trainer.accumulate_grad_batches = window
        restore_metrics(trainer, pl_module.monitored)
        self._first_step = trainer.global_step
        trainer.should_stop = trainer.should_stop or pl_module.was_stopping

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
        # Lightning would log and validate once more before a stop. A run that is out of time goes on later, and would
        # then have had a validation too many, which early stopping has judged. The ranks' clocks differ.
        if trainer.should_stop and trainer.strategy.broadcast(is_out_of_time(trainer)):
            self._is_to_stop, trainer.should_stop = True, False

    def _end_batch(self, trainer: L.Trainer) -> None:
        # Where a fit resumes at an epoch's end, the loop passes here once without a batch.
        if has_epoch_ended(trainer) and trainer.global_step != self._first_step:
            for judge in self._judges:
                judge_now(trainer, judge)
        # A step that is cut in two by the end of a fit would be lost.
        if is_at_step_boundary(trainer):
            trainer.should_stop = trainer.should_stop or self._is_to_stop
        elif trainer.should_stop:
            self._is_to_stop, trainer.should_stop = True, False

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for judge in _list_judges(trainer):
            if not judge.wait_count and not torch.isfinite(judge.best_score) and not judge.stopping_reason_message:
                say(f"EarlyStopping had nothing to judge: {judge.monitor} was not logged before the end.", trainer)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for judge in self._judges:
            restore_judgement(judge)
        stop_between_batches(trainer, self._end_batch)
        if stage == "fit":
            restore_validation(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")  # Lightning calls no teardown then
        trainer.datamodule.teardown("fit")  # type: ignore[attr-defined]


def prepare_callbacks(trainer: L.Trainer) -> None:
    """Lets early stopping judge a validation as soon as it ends, and what the training logs at the end of the epoch.

    A fit that ends before anything was logged leaves nothing to judge, which is no error: the name is known. Files of
    Lightning's `ModelCheckpoint` get a folder of their own where the user names none.
    """
    for judge in _list_judges(trainer):
        judge.strict = False
        choose_judgement(judge, at_epoch_end=judge.monitor not in VALIDATION)
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    for own in [one for one in callbacks if isinstance(one, Checkpoints)]:
        home = own.folder.parent if own.folder else Path(trainer.default_root_dir)
        for other in [one for one in callbacks if isinstance(one, ModelCheckpoint) and one.dirpath is None]:
            other.dirpath = str(home / MODEL_CHECKPOINTS)


def _list_judges(trainer: L.Trainer) -> list[EarlyStopping]:
    """Returns the callbacks that stop a fit early by what we log."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return [one for one in callbacks if isinstance(one, EarlyStopping) and one.monitor in LOGGED]


def refresh_callbacks(trainer: L.Trainer, states: dict[str, Any]) -> None:
    """Changes the callbacks' states of a checkpoint, before they are loaded, to those that a resumed run goes on with.

    The time of `max_time` is that of one command, so it begins anew. Early stopping keeps today's patience, and a stop
    of before does not count.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer):
            states.pop(callback.state_key, None)
        elif isinstance(callback, EarlyStopping) and callback.state_key in states:
            kept = {"patience": callback.patience, "stopping_reason": callback.stopping_reason.value}
            states[callback.state_key] = {**states[callback.state_key], **kept, "stopping_reason_message": None}
