"""Private parts of Lightning's training loop: what happens between batches, when it validates, judges and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

PRIVATE_NAMES: dict[type, tuple[str, ...]] = {
    _TrainingEpochLoop: (
        "on_advance_end",
        "_should_check_val_fx",
        "_should_check_val_epoch",
        "_should_accumulate",
        "_num_ready_batches_reached",
    ),
    _FitLoop: ("_should_accumulate",),
    EarlyStopping: ("_run_early_stopping_check",),
}


class _AfterEachBatch:
    """Replacement of an epoch loop's `on_advance_end`: the original, then the actions, in the order they were added."""

    def __init__(self, loop: Any) -> None:
        self.loop, self.original = loop, loop.on_advance_end
        self.actions: list[Callable[[L.Trainer], None]] = []

    def __call__(self, data_fetcher: Any) -> None:
        loop = self.loop
        # When a run resumes from a state in which a validation has just run, the loop passes here once without a batch
        # and counts a step for it. The saved state therefore holds one step less; not if only a stop calls for it.
        is_to_stop, loop.trainer.should_stop = loop.trainer.should_stop, False
        counted = int(loop._should_check_val_fx(data_fetcher) and not loop._should_accumulate())
        loop.trainer.should_stop = is_to_stop
        self.original(data_fetcher)
        loop._batches_that_stepped -= counted
        for action in self.actions:
            action(loop.trainer)
        loop._batches_that_stepped += counted


def call_between_batches(trainer: L.Trainer, action: Callable[[L.Trainer], None], first: bool = False) -> None:
    """Calls `action` after each training batch, once its metrics are logged and a validation that is due has run.

    Args:
        action: It takes the trainer. One that is there already is not added again.
        first: Before the actions that are there already, which may save what this one changes.

    Lightning has no hook at this point. In `on_train_batch_end` the batch counts as unfinished, its metrics are not
    logged and the validation is still to come, so a run resumed from there would lose or repeat one of them.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    if not isinstance(loop.on_advance_end, _AfterEachBatch):
        loop.on_advance_end = _AfterEachBatch(loop)
    actions = loop.on_advance_end.actions
    if action not in actions:
        actions.insert(0 if first else len(actions), action)


def stop_between_batches(trainer: L.Trainer, action: Callable[[L.Trainer], None]) -> None:
    """Undoes `call_between_batches`; the last one to leave restores Lightning's method. Unknown actions are ignored."""
    loop: Any = trainer.fit_loop.epoch_loop
    hook = loop.on_advance_end
    if isinstance(hook, _AfterEachBatch) and action in hook.actions:
        hook.actions.remove(action)
        if not hook.actions:
            del loop.on_advance_end  # the class's own method is visible again


class _ValidationAtStepEnd:
    """Replacement of an epoch loop's `_should_check_val_fx`: a validation waits for the end of its optimizer step.

    A run can resume from there alone. The answer depends on the position in the epoch and on nothing that was seen
    before, so that a loop that resumes after a validation knows that it has run.
    """

    def __init__(self, trainer: L.Trainer) -> None:
        self.trainer, self.original = trainer, trainer.fit_loop.epoch_loop._should_check_val_fx

    def __call__(self, data_fetcher: Any) -> bool:
        trainer, loop = self.trainer, self.trainer.fit_loop.epoch_loop
        if loop._should_accumulate():
            return False
        if self.original(data_fetcher):
            return True
        every: Any = trainer.val_check_batch
        if not loop._should_check_val_epoch() or not isinstance(every, int):
            return False
        last = loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx
        batches = loop.batch_idx % trainer.accumulate_grad_batches + 1  # of this step
        return (last + 1) // every > (last + 1 - batches) // every


def validate_at_step_ends(trainer: L.Trainer) -> None:
    """Delays each validation within an epoch to the end of its optimizer step; `restore_validation` undoes it."""
    loop: Any = trainer.fit_loop.epoch_loop
    if not isinstance(loop._should_check_val_fx, _ValidationAtStepEnd):
        loop._should_check_val_fx = _ValidationAtStepEnd(trainer)


def restore_validation(trainer: L.Trainer) -> None:
    """Undoes `validate_at_step_ends`."""
    loop: Any = trainer.fit_loop.epoch_loop
    if isinstance(loop._should_check_val_fx, _ValidationAtStepEnd):
        del loop._should_check_val_fx


def is_at_step_boundary(trainer: L.Trainer) -> bool:
    """Returns whether the last batch ended an optimizer step: its window is full, or the epoch ends."""
    return not trainer.fit_loop._should_accumulate()


def has_epoch_ended(trainer: L.Trainer) -> bool:
    """Returns whether the last batch was the last of its epoch."""
    return bool(trainer.fit_loop.epoch_loop._num_ready_batches_reached())


def will_fit_end(trainer: L.Trainer) -> bool:
    """Returns whether a fit ends after this batch, for whatever reason."""
    return find_reached_limit(trainer) != "" or bool(trainer.should_stop and may_stop(trainer))


def may_stop(trainer: L.Trainer) -> bool:
    """Returns whether `min_epochs` and `min_steps` let a fit end early after this batch."""
    return count_epochs(trainer) >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)


def find_reached_limit(trainer: L.Trainer) -> str:
    """Returns what a fit has done all of, `steps` or `epochs`; empty if neither."""
    if 0 < trainer.max_steps <= trainer.global_step:
        return "steps"
    done = count_epochs(trainer)
    return "epochs" if trainer.max_epochs is not None and 0 < trainer.max_epochs <= done else ""


def count_epochs(trainer: L.Trainer) -> int:
    """Returns the epochs whose batches are all done."""
    progress: Any = trainer.fit_loop.epoch_progress.current
    if progress.ready > progress.processed:  # between two batches, or after the last one
        return int(progress.processed + has_epoch_ended(trainer))
    # The loop counts an epoch in which it stopped as processed.
    return int(max(progress.processed - (not has_epoch_ended(trainer)), 0))


def find_validation_time(trainer: L.Trainer) -> float | None:
    """Returns the seconds between validations by the clock; `None` where batches or epochs are counted."""
    return getattr(trainer, "_val_check_time_interval", None)


def restore_metrics(trainer: L.Trainer, metrics: dict[str, float]) -> None:
    """Lets callbacks that monitor a metric find the values that were logged before a fit was interrupted."""
    trainer._logger_connector._callback_metrics.update({name: torch.tensor(value) for name, value in metrics.items()})


def choose_judgement(stopping: EarlyStopping, at_epoch_end: bool) -> None:
    """Sets when early stopping judges, at the epoch's end or a validation's, where its settings leave that open."""
    if stopping._check_on_train_epoch_end is None:
        stopping._check_on_train_epoch_end = at_epoch_end


def judges_at_epoch_end(stopping: EarlyStopping) -> bool:
    """Returns whether early stopping judges at the end of the epoch."""
    return bool(stopping._check_on_train_epoch_end)


def judge_now(trainer: L.Trainer, stopping: EarlyStopping) -> None:
    """Lets early stopping judge what is logged now, and stop the fit."""
    stopping._run_early_stopping_check(trainer)


def _leave_out(*args: Any) -> None:
    """Replaces a hook that is called elsewhere."""


def leave_out_judgement(stopping: EarlyStopping) -> None:
    """Keeps Lightning from calling early stopping at the end of an epoch; `restore_judgement` undoes it."""
    stopping.on_train_epoch_end = _leave_out  # type: ignore[method-assign, assignment]


def restore_judgement(stopping: EarlyStopping) -> None:
    """Undoes `leave_out_judgement`."""
    vars(stopping).pop("on_train_epoch_end", None)
