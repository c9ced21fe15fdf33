"""Between two batches: the one moment at which a run's state is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L


def call_between_batches(trainer: L.Trainer, do: Callable[[], None]) -> None:
    """Has `do` called after each training batch, once its metrics are logged and a validation that is due has run.

    None of Lightning's hooks stands there: in `on_train_batch_end` the batch counts as unfinished, its metrics are not
    logged, and a validation is still to come, so that a run resumed from there would lose or repeat one of them.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    before = loop.on_advance_end

    def after(data_fetcher: Any) -> None:
        # Resumed from a state in which a validation has just run, the loop passes here once without a batch, and counts
        # a step for it: such a state says one less.
        counted = int(loop._should_check_val_fx(data_fetcher) and not loop._should_accumulate())
        before(data_fetcher)
        loop._batches_that_stepped -= counted
        do()
        loop._batches_that_stepped += counted

    loop.on_advance_end = after


def is_at_step_boundary(trainer: L.Trainer) -> bool:
    """Whether the last batch ended an optimizer step: its window is full, or the epoch ends."""
    return not trainer.fit_loop._should_accumulate()


def has_epoch_ended(trainer: L.Trainer) -> bool:
    """Whether the last batch was its epoch's."""
    return bool(trainer.fit_loop.epoch_loop._num_ready_batches_reached())


def is_fit_done(trainer: L.Trainer) -> bool:
    """Whether a fit has nothing left to do: its steps or epochs are reached, or it was stopped early."""
    loop = trainer.fit_loop
    if 0 < trainer.max_steps <= trainer.global_step or (trainer.should_stop and loop._can_stop_early):
        return True
    progress: Any = loop.epoch_progress.current
    epochs = progress.processed + has_epoch_ended(trainer)
    return trainer.max_epochs is not None and 0 < trainer.max_epochs <= epochs
