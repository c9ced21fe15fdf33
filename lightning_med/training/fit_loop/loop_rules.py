"""Rules of Lightning's training loop that keep a run exact and resumable, whatever options it has."""

from __future__ import annotations

from functools import partial
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, Timer

from lightning_med.training.fit_loop.fit_end import is_out_of_time
from lightning_med.training.lightning_patches import (
    call_between_batches,
    is_at_step_boundary,
    judge_after_validation,
    restore_metrics,
    restore_validation,
    stop_between_batches,
    validate_at_step_ends,
)
from lightning_med.training.register.monitors import LOGGED, VALIDATION, check_monitors


class LoopRules(L.Callback):
    """Makes each stop and validation of a fit wait for the end of its optimizer step, from where a run can resume."""

    def __init__(self) -> None:
        self._action: partial[None] | None = None
        self._is_to_stop = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        check_monitors(trainer, logs_more=True, validation_rows=len(trainer.datamodule.store("validation")))  # type: ignore[attr-defined]
        validate_at_step_ends(trainer)
        self._is_to_stop = False
        if self._action is None:
            self._action = partial(self._delay_stop, trainer)
            call_between_batches(trainer, self._action, first=True)

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        # A fit that resumes within an epoch has no start of it, where a GradientAccumulationScheduler would set this.
        if isinstance(window := getattr(trainer.datamodule, "window", None), int):  # type: ignore[attr-defined]
            trainer.accumulate_grad_batches = window
        restore_metrics(trainer, pl_module.monitored)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
        # Lightning would log and validate once more before a stop. A run that is out of time goes on later, and would
        # then have had a validation too many, which early stopping has judged. The ranks' clocks differ.
        if trainer.should_stop and trainer.strategy.broadcast(is_out_of_time(trainer)):
            self._is_to_stop, trainer.should_stop = True, False

    def _delay_stop(self, trainer: L.Trainer) -> None:
        # A step that is cut in two by the end of a fit would be lost.
        if is_at_step_boundary(trainer):
            trainer.should_stop = trainer.should_stop or self._is_to_stop
        elif trainer.should_stop:
            self._is_to_stop, trainer.should_stop = True, False

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._action is not None:
            stop_between_batches(trainer, self._action)
            self._action = None
        if stage == "fit":
            restore_validation(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")  # Lightning calls no teardown then


def prepare_callbacks(trainer: L.Trainer) -> None:
    """Lets early stopping judge a validation as soon as it ends, so that its verdict is saved with that step.

    A fit that ends before anything was logged leaves nothing to judge, which is no error: the name is known.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EarlyStopping) and callback.monitor in LOGGED:
            callback.strict = False
            if callback.monitor in VALIDATION:
                judge_after_validation(callback)


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
