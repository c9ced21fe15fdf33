"""Faults injected into a child process at a chosen point of its training loop, and a clock that counts batches."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.callbacks import Timer

from faults.injection import die
from faults.runs import Injection
from lightning_med.inference.part_file import PartFile
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.save_on_signal import SaveOnSignal
from lightning_med.training.patches.loop import has_epoch_ended


def combine(*injections: Injection) -> Injection:
    """Returns a patch that is all of these."""

    def patch() -> None:
        for inject in injections:
            inject()

    return patch


def kill_after_batch(is_due: Callable[[Any], bool]) -> Injection:
    """Returns a patch that kills the process after a batch, once a checkpoint that is due has been written.

    Args:
        is_due: Whether it is this batch, given the trainer.
    """

    def patch() -> None:
        save_if_due = Checkpoints._save_if_due

        def patched(self: Checkpoints, trainer: Any) -> None:
            save_if_due(self, trainer)
            if is_due(trainer):
                trainer.strategy.checkpoint_io.wait()
                die()

        Checkpoints._save_if_due = patched  # type: ignore[method-assign]

    return patch


def kill_at_epoch_end(epoch: int) -> Injection:
    """Returns a patch that kills the process after the last batch of an epoch, which is saved."""
    return kill_after_batch(lambda trainer: has_epoch_ended(trainer) and trainer.current_epoch == epoch)


def kill_after_stop() -> Injection:
    """Returns a patch that kills the process after the step in which the fit was told to stop, which is saved."""
    return kill_after_batch(lambda trainer: trainer.should_stop)


def kill_at_fit_end() -> Injection:
    """Returns a patch that kills the process when the training has ended."""

    def patch() -> None:
        end = Checkpoints.on_train_end

        def patched(self: Checkpoints, trainer: Any, pl_module: Any) -> None:
            end(self, trainer, pl_module)
            die()

        Checkpoints.on_train_end = patched  # type: ignore[method-assign]

    return patch


def kill_after_validation(number: int) -> Injection:
    """Returns a patch that kills the process directly after the `number`-th validation, whose step is saved if due."""

    def patch() -> None:
        validations, end = 0, Checkpoints.on_validation_end

        def patched(self: Checkpoints, trainer: Any, pl_module: Any) -> None:
            nonlocal validations
            validations += not trainer.sanity_checking
            end(self, trainer, pl_module)

        Checkpoints.on_validation_end = patched  # type: ignore[method-assign]
        kill_after_batch(lambda trainer: validations == number)()

    return patch


def signal_in_last_step(epoch: int, number: int) -> Injection:
    """Returns a patch that sends the process a signal before the last batch of an epoch."""

    def patch() -> None:
        def start(self: SaveOnSignal, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.current_epoch == epoch and batch_idx == trainer.num_training_batches - 1:
                os.kill(os.getpid(), number)

        SaveOnSignal.on_train_batch_start = start  # type: ignore[method-assign,assignment]

    return patch


def signal_in_load(read: int, number: int) -> Injection:
    """Returns a patch that sends the process a signal within its `read`-th `torch.load`."""

    def patch() -> None:
        loads, load = 0, torch.serialization._load  # type: ignore[attr-defined]

        def patched(*args: Any, **kwargs: Any) -> Any:
            nonlocal loads
            loads += 1
            if loads == read:
                os.kill(os.getpid(), number)
            return load(*args, **kwargs)

        torch.serialization._load = patched  # type: ignore[attr-defined]

    return patch


def count_time_in_batches(seconds: float) -> Injection:
    """Returns a patch by which each training batch takes so many seconds, for `max_time`."""

    def patch() -> None:
        batches, end = 0, Timer.on_train_batch_end

        def patched(self: Timer, *args: Any, **kwargs: Any) -> None:
            nonlocal batches
            batches += 1
            end(self, *args, **kwargs)

        def measure(self: Timer, stage: str = "train") -> float:
            return seconds * batches

        Timer.on_train_batch_end = patched  # type: ignore[method-assign]
        Timer.time_elapsed = measure  # type: ignore[method-assign,assignment]

    return patch


def kill_in_append(number: int, in_row: bool) -> Injection:
    """Returns a patch that kills the process when answers are appended for the `number`-th time.

    Args:
        number: Counted from 1.
        in_row: When the last row is written in half; else when all of them are.
    """

    def patch() -> None:
        appended, append = 0, PartFile.append

        def patched(self: PartFile, rows: Any) -> None:
            nonlocal appended
            append(self, rows)
            appended += 1
            if appended == number:
                if in_row:
                    os.truncate(self.path, os.path.getsize(self.path) - 40)
                die()

        PartFile.append = patched  # type: ignore[method-assign]

    return patch
