"""Faults injected into a child process before its command runs: a kill at a chosen moment, a NaN loss."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loops.fit_loop import _FitLoop

from lightning_med.checkpoints import digests, writing
from lightning_med.training import trained_module as module
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.save_on_signal import SaveOnSignal

STAGES = ("half written", "written", "digest written", "renamed", "linked")  # of a save, in order


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_save(number: int, stage: str) -> Callable[[], None]:
    """Returns a patch that kills the process in its `number`-th save, after a stage of `STAGES`."""

    def patch() -> None:
        saves = 0
        save, write_digest, replace, update = torch.save, digests.write_digest, os.replace, Checkpoints._update_links

        def kill_after(current: str) -> None:
            if saves == number and stage == current:
                die()

        def patched_save(content: Any, file: Any) -> None:
            nonlocal saves
            save(content, file)
            saves += 1
            if saves == number and stage == "half written":
                file.truncate(file.tell() // 2)
                die()
            kill_after("written")

        def patched_write_digest(path: Path, content: Path) -> None:
            write_digest(path, content)
            kill_after("digest written")

        def patched_replace(source: Any, target: Any) -> None:
            replace(source, target)
            if str(target).endswith(".ckpt"):
                kill_after("renamed")

        def patched_update(self: Checkpoints, path: Path, best: dict[str, Any]) -> None:
            update(self, path, best)
            kill_after("linked")

        writing.torch.save = patched_save  # type: ignore[attr-defined,assignment]
        digests.write_digest = patched_write_digest
        os.replace = patched_replace  # type: ignore[assignment]
        Checkpoints._update_links = patched_update  # type: ignore[method-assign]

    return patch


def kill_at_epoch(epoch: int, after: bool) -> Callable[[], None]:
    """Returns a patch that kills the process at the end of an epoch, before or after Lightning counts the epoch."""

    def patch() -> None:
        on_advance_end = _FitLoop.on_advance_end

        def patched(self: Any) -> None:
            is_due = self.epoch_progress.current.processed == epoch
            if is_due and not after:
                die()
            on_advance_end(self)
            if is_due:
                die()

        _FitLoop.on_advance_end = patched  # type: ignore[method-assign]

    return patch


def make_loss_nan(number: int) -> Callable[[], None]:
    """Returns a patch that makes the loss of the `number`-th training batch NaN, and thereby its gradients."""

    def patch() -> None:
        batches, compute_nll = 0, module.compute_nll

        def patched(network: Any, batch: dict[str, Any], *args: Any) -> Any:
            nonlocal batches
            total, each = compute_nll(network, batch, *args)
            batches += torch.is_grad_enabled()
            return (total * float("nan") if batches == number and torch.is_grad_enabled() else total), each

        module.compute_nll = patched  # type: ignore[assignment]

    return patch


def record_signal_step(path: Path) -> Callable[[], None]:
    """Returns a patch that writes to a file how many steps were done when a signal arrived."""

    def patch() -> None:
        receive, setup = SaveOnSignal._receive, SaveOnSignal.setup
        trainers: list[Any] = []

        def patched_setup(self: SaveOnSignal, trainer: Any, pl_module: Any, stage: str) -> None:
            trainers.append(trainer)
            setup(self, trainer, pl_module, stage)

        def patched_receive(self: SaveOnSignal, number: int, frame: Any) -> None:
            path.write_text(str(trainers[0].global_step))
            receive(self, number, frame)

        SaveOnSignal.setup, SaveOnSignal._receive = patched_setup, patched_receive  # type: ignore[method-assign]

    return patch
