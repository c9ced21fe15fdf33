"""Signals during a fit and an evaluation."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment

from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.predictions import PredictionWriter
from lightning_med.training.callbacks.save_on_signal import SaveOnSignal
from lightning_med.utils.signals import Interrupted
from tests import tiny
from tests.signal_fixtures import HANDLED
from tests.training.callbacks.helpers import fit, predict


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138), ("SIGHUP", 129)])
def test_a_signal_saves_the_current_step(folder: Path, tmp_path: Path, name: str, code: int) -> None:
    with pytest.raises(Interrupted) as raised:
        fit(folder, tmp_path, [SaveOnSignal(), Checkpoints(), tiny.Send(name, step=2)], max_epochs=2)
    assert raised.value.code == code
    path = next(tmp_path.rglob("last.ckpt"))
    assert torch.load(path, weights_only=True)["global_step"] == 2
    trainer = tiny.trainer(tmp_path)
    model, data = tiny.language_model(), tiny.data_module(folder)
    (results,) = trainer.validate(model, data, ckpt_path=path, verbose=False, weights_only=True)
    assert results["val/perplexity"] > 1


def test_signal_handlers_are_restored_after_a_fit(
    folder: Path, tmp_path: Path, handlers: dict[signal.Signals, Any]
) -> None:
    fit(folder, tmp_path, [SaveOnSignal(), Checkpoints()])
    assert {number: signal.getsignal(number) for number in HANDLED} == handlers


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_fit_resumed_after_a_signal_ends_like_an_uninterrupted_one(
    folder: Path, tmp_path: Path, accumulate: int
) -> None:
    settings: dict[str, Any] = {"max_epochs": 2, "accumulate_grad_batches": accumulate}
    uninterrupted = fit(folder, tmp_path, [], **settings)
    with pytest.raises(Interrupted):
        fit(folder, tmp_path, [SaveOnSignal(), Checkpoints(), tiny.Send("SIGTERM", step=2)], **settings)
    path = next(tmp_path.rglob("last.ckpt"))
    resumed = fit(folder, tmp_path / "again", [SaveOnSignal(), Checkpoints()], path, **settings)
    ours, theirs = (tiny.weights(trainer.lightning_module) for trainer in (resumed, uninterrupted))
    assert resumed.global_step == uninterrupted.global_step
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_under_slurm_the_job_is_requeued(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Lightning's own handler, after our save; a script stands in for `scontrol`."""
    command = tmp_path / "bin" / "scontrol"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "arguments"}\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    for name, value in {"JOB_ID": "77", "NTASKS": "1", "LOCALID": "0", "PROCID": "0", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NODELIST", "localhost")
    plugins = [AtomicCheckpointIO(), SLURMEnvironment(auto_requeue=True)]
    with pytest.raises(Interrupted) as raised:
        fit(
            folder,
            tmp_path,
            [SaveOnSignal(), Checkpoints(), tiny.Send("SIGUSR1", step=2)],
            max_epochs=2,
            plugins=plugins,
        )
    assert raised.value.code == 138
    assert (tmp_path / "arguments").read_text().split() == ["requeue", "77"]
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
    assert not list(tmp_path.glob("hpc_ckpt*"))


def test_a_signal_in_the_last_step_of_an_epoch_ends_the_run(folder: Path, tmp_path: Path) -> None:
    """The last step of an epoch may have fewer batches than the others."""
    batches = len(tiny.data_module(folder).plan_epoch(0))
    accumulate = next(n for n in range(2, batches) if batches % n == 1)
    steps = -(-batches // accumulate)
    with pytest.raises(Interrupted):
        fit(
            folder,
            tmp_path,
            [SaveOnSignal(), Checkpoints(), tiny.Send("SIGTERM", step=steps)],
            accumulate_grad_batches=accumulate,
        )
    assert torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)["global_step"] == steps


def test_a_second_signal_ends_the_run_at_once(folder: Path, tmp_path: Path) -> None:
    class Twice(tiny.Send):
        def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
            if trainer.global_step == self.step - 1:
                os.kill(os.getpid(), self.number)
                os.kill(os.getpid(), self.number)

    with pytest.raises(Interrupted) as raised:
        fit(folder, tmp_path, [SaveOnSignal(), Checkpoints(every_n_train_steps=1), Twice("SIGINT", step=3)])
    assert raised.value.code == 130
    assert torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)["global_step"] == 2


def test_a_signal_ends_an_evaluation_at_once(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    class SendNow(L.Callback):
        def on_predict_batch_start(self, *args: Any, **kwargs: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as raised:
        predict(folder, tmp_path, checkpoint, SaveOnSignal(), PredictionWriter(tmp_path / "p.jsonl"), SendNow())
    assert raised.value.code == 143
    assert not (tmp_path / "p.jsonl").exists()
