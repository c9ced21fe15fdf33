"""Why a fit ended, and whether anything is left to do."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, Timer

from lightning_med.training.patches.loop import find_reached_limit, may_stop

EARLY = "early stopping"


def find_end(trainer: L.Trainer) -> str:
    """Returns why a fit is finished: `steps`, `epochs` or `early stopping`; empty if it is not.

    It is finished when the steps or epochs that were asked for are done, or when early stopping (or a callback of the
    user's that sets `should_stop`) ended it. A run that was killed, sent a signal, or ran out of its `max_time` is not.
    """
    if reached := find_reached_limit(trainer):
        return reached
    return EARLY if is_stopped_early(trainer) and may_stop(trainer) else ""


def is_stopped_early(trainer: L.Trainer) -> bool:
    """Returns whether early stopping asks for an end, which `min_epochs` and `min_steps` may delay."""
    if not trainer.should_stop:
        return False
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    judged = any(isinstance(one, EarlyStopping) and one.stopping_reason_message for one in callbacks)
    return judged or not is_out_of_time(trainer)


def is_out_of_time(trainer: L.Trainer) -> bool:
    """Returns whether the time of `max_time` or of a `Timer` is over."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    left = [one.time_remaining() for one in callbacks if isinstance(one, Timer)]
    return any(seconds is not None and seconds <= 0 for seconds in left)
