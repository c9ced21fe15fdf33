"""Fits that stop and go on log and validate what a fit that runs through does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.loggers.logger import DummyLogger

from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.fit_loop.fit_end import EARLY, find_end
from tests.training.helpers import fit


class Record(DummyLogger):
    """Records the step of each validation and of each training loss."""

    def __init__(self) -> None:
        super().__init__()
        self.validations: list[int] = []
        self.losses: list[int] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        steps = self.validations if "val/loss" in metrics else self.losses if "train/loss" in metrics else []
        steps.append(step or 0)


class OutOfTime(Timer):
    """Its time is over after five batches of a command."""

    def __init__(self) -> None:
        super().__init__("00:00:00:05")
        self.batches = 0

    def time_elapsed(self, stage: str = "train") -> float:
        return float(self.batches)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.batches += 1
        super().on_train_batch_end(*args, **kwargs)


class StopOnce(L.Callback):
    """Ends a fit after five steps, where no validation is due."""

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.global_step == 5


@pytest.mark.parametrize("window", [1, 2])
def test_running_out_of_time_adds_no_validation_and_no_line_of_the_log(
    folder: Path, tmp_path: Path, window: int
) -> None:
    def run(place: Path, record: Record, *more: Any, **changes: Any) -> Any:
        stopping = EarlyStopping("val/loss", min_delta=1e6, patience=3)  # each validation counts
        options = {"max_epochs": 6, "val_check_interval": 4, "accumulate_grad_batches": window, "log_every_n_steps": 3}
        module, _ = fit(folder, place, callbacks=[stopping, Checkpoints(), *more], logger=record, **options, **changes)
        return module.trainer

    whole, cut = Record(), Record()
    steps = run(tmp_path / "whole", whole).global_step
    trainer = run(tmp_path / "cut", cut, OutOfTime())
    for _ in range(10):
        if find_end(trainer):
            break
        trainer = run(tmp_path / "cut", cut, OutOfTime(), ckpt_path=tmp_path / "cut" / "checkpoints" / "last.ckpt")
    assert find_end(trainer) == EARLY
    assert trainer.global_step == steps == 16 // window
    assert cut.validations == whole.validations
    assert cut.losses == whole.losses


def test_a_fit_that_a_callback_stopped_validates_and_goes_on_counting(folder: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_epochs": 2, "log_every_n_steps": 1}
    first, second = Record(), Record()
    fit(folder, tmp_path, callbacks=[Checkpoints(), StopOnce()], logger=first, **options)
    assert (first.losses, first.validations) == ([0, 1, 2, 3, 4], [4])
    last = tmp_path / "checkpoints" / "last.ckpt"
    fit(folder, tmp_path, callbacks=[Checkpoints()], logger=second, ckpt_path=last, **options)
    assert (second.losses, second.validations) == (list(range(5, 16)), [7, 15])
