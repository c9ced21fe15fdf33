"""The names of what a fit logs, which callbacks and schedules may monitor."""

from __future__ import annotations

import difflib
from typing import Any

from lightning import Trainer

from lightning_med.utils.errors import InputError

_LIKELIHOOD = ("loss", "perplexity", "bits_per_byte", "tokens")
_STEP = ("gradient_norm", "spikes", "skipped")
_SPEED = ("tokens_per_second", "utilisation", "data_wait", "peak_memory_gib")
VALIDATION = tuple(f"val/{name}" for name in _LIKELIHOOD)
LOGGED = (*VALIDATION, *(f"train/{name}" for name in (*_LIKELIHOOD, *_STEP, *_SPEED)))


def has_code_of_others(module: Any, trainer: Trainer) -> bool:
    """Returns whether a module or a callback is neither ours nor Lightning's, and may log any name."""
    kinds = [type(module), *(type(one) for one in trainer.callbacks)]  # type: ignore[attr-defined]
    return any(kind.__module__.partition(".")[0] not in ("lightning", "lightning_med") for kind in kinds)


def check_monitors(trainer: Trainer, logs_more: bool, validation_rows: int = 1) -> None:
    """Checks that what callbacks monitor is logged.

    Args:
        trainer: With its callbacks.
        logs_more: Whether code of the user's may log other names.
        validation_rows: Rows of the validation split, once they are known.

    Raises:
        InputError: A callback waits for a name that nobody logs.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        name: Any = getattr(callback, "monitor", None)
        if not isinstance(name, str):
            continue
        what = f"{type(callback).__name__} cannot monitor {name}"
        if name in VALIDATION and not (validation_rows and trainer.limit_val_batches):
            option = "--data.val_fraction 0.05" if trainer.limit_val_batches else "--trainer.limit_val_batches 1.0"
            raise InputError(f"{what}: there are no validations.", f"Give {option}")
        if name in LOGGED and name not in VALIDATION and not trainer.log_every_n_steps:  # type: ignore[attr-defined]
            raise InputError(f"{what}: log_every_n_steps is 0.", "Give --trainer.log_every_n_steps 10")
        if name not in LOGGED and not logs_more:
            near = difflib.get_close_matches(name, LOGGED, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"A validation logs {', '.join(VALIDATION)}."
            raise InputError(f"{what}: nothing of this name is logged.", hint)
