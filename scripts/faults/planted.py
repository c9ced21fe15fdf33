"""Faults planted in a child before its command runs: a kill in a chosen moment, a number that is none."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loops.fit_loop import _FitLoop

from lightning_med.checkpoints import digests, writing
from lightning_med.model import causal_lm
from lightning_med.training.callbacks.checkpoints import Checkpoints

STAGES = ("half written", "written", "digested", "renamed", "linked")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_save(number: int, stage: str) -> Callable[[], None]:
    """A kill -9 in the `number`-th save: with half of the file written, before its digest, before or after its name."""

    def plant() -> None:
        count = [0]
        save, write_digest, replace, settle = torch.save, digests.write_digest, os.replace, Checkpoints._update_links

        def saving(content: Any, file: Any) -> None:
            save(content, file)
            count[0] += 1
            if count[0] == number and stage == "half written":
                file.truncate(file.tell() // 2)
                _die()
            if count[0] == number and stage == "written":
                _die()

        def digesting(path: Path, content: Path) -> None:
            write_digest(path, content)
            if count[0] == number and stage == "digested":
                _die()

        def replacing(source: Any, target: Any) -> None:
            replace(source, target)
            if count[0] == number and stage == "renamed" and str(target).endswith(".ckpt"):
                _die()

        def settling(self: Checkpoints, path: Path, best: dict[str, Any]) -> None:
            settle(self, path, best)
            if count[0] == number and stage == "linked":
                _die()

        writing.torch.save = saving  # type: ignore[attr-defined,assignment]
        digests.write_digest = digesting
        os.replace = replacing  # type: ignore[assignment]
        Checkpoints._update_links = settling  # type: ignore[method-assign]

    return plant


def kill_at_epoch(epoch: int, after: bool) -> Callable[[], None]:
    """A kill -9 at the boundary of an epoch: before its end is booked, or after."""

    def plant() -> None:
        book = _FitLoop.on_advance_end

        def booking(self: Any) -> None:
            here = self.epoch_progress.current.processed == epoch
            if here and not after:
                _die()
            book(self)
            if here:
                _die()

        _FitLoop.on_advance_end = booking  # type: ignore[method-assign]

    return plant


def nan_in_batch(number: int) -> Callable[[], None]:
    """The loss of the `number`-th training batch is NaN, and so are its gradients."""

    def plant() -> None:
        count, likelihood = [0], causal_lm.compute_nll

        def spoilt(network: Any, batch: dict[str, Any], *args: Any) -> Any:
            total, each = likelihood(network, batch, *args)
            count[0] += torch.is_grad_enabled()
            return (total * float("nan") if count[0] == number and torch.is_grad_enabled() else total), each

        causal_lm.compute_nll = spoilt  # type: ignore[assignment]

    return plant


def note_signal(path: Path) -> Callable[[], None]:
    """Writes down how many steps were done when a signal came."""

    def plant() -> None:
        from lightning_med.training.callbacks.signals import SaveOnSignal

        take, setup = SaveOnSignal._receive, SaveOnSignal.setup
        trainers: list[Any] = []

        def setting_up(self: SaveOnSignal, trainer: Any, pl_module: Any, stage: str) -> None:
            trainers.append(trainer)
            setup(self, trainer, pl_module, stage)

        def taking(self: SaveOnSignal, number: int, frame: Any) -> None:
            path.write_text(str(trainers[0].global_step))
            take(self, number, frame)

        SaveOnSignal.setup, SaveOnSignal._receive = setting_up, taking  # type: ignore[method-assign]

    return plant
