"""Gradients are freed before a forward pass, the kernels bounded, and free memory returned when it has grown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from lightning_med.training.callbacks import steady_memory
from lightning_med.training.callbacks.steady_memory import SteadyMemory
from lightning_med.training.module import DialogueLM
from lightning_med.utils.memory.kernel_cache import count_kernels
from tests import tiny

VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


@pytest.fixture(autouse=True)
def _restore_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


class Watched(DialogueLM):
    """Records whether there are gradients when a forward pass begins."""

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        seen = self.__dict__.setdefault("seen", [])
        seen.append(any(weight.grad is not None for weight in self.parameters()))
        return super().training_step(batch, batch_idx)


def fit(folder: Path, **changes: Any) -> Watched:
    L.seed_everything(3, verbose=False)
    model = Watched(base=None, from_scratch=tiny.NETWORK, lr=3e-3)
    tiny.trainer(folder, **{"max_epochs": 2, **changes}).fit(model, tiny.data_module(folder))
    return model


def test_no_gradients_are_in_memory_during_a_forward_pass(tmp_path: Path) -> None:
    model = fit(tmp_path)
    assert len(model.seen) > 3
    assert not any(model.seen)


def test_gradients_of_a_step_of_several_batches_add_up(tmp_path: Path) -> None:
    model = fit(tmp_path, accumulate_grad_batches=2, max_epochs=1)
    assert model.seen[:4] == [False, True, False, True]


def test_the_weights_are_those_of_a_fit_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = fit(tmp_path, accumulate_grad_batches=2)
    monkeypatch.setattr(SteadyMemory, "on_train_batch_start", L.Callback.on_train_batch_start)
    plain = fit(tmp_path, accumulate_grad_batches=2)
    assert any(plain.seen[2::2])  # the gradients of the step before
    assert all(torch.equal(a, b) for a, b in zip(steady.parameters(), plain.parameters(), strict=True))


def test_a_hook_that_may_look_at_gradients_finds_them(tmp_path: Path) -> None:
    class Look(L.Callback):
        found = 0

        def on_before_zero_grad(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
            self.found += any(weight.grad is not None for weight in pl_module.parameters())

    look = Look()
    fit(tmp_path, callbacks=[look])
    assert look.found > 2


def run_steps(monkeypatch: pytest.MonkeyPatch, resident: list[float]) -> list[int]:
    """Returns the steps before which free memory is returned, of steps that begin with so much resident memory."""
    returned: list[int] = []
    callback, step = SteadyMemory(), 0
    monkeypatch.setattr(steady_memory, "read_resident_memory", lambda: resident[step])
    monkeypatch.setattr(steady_memory, "release_freed_memory", lambda: returned.append(step))
    trainer: Any = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)
    callback.on_train_start(trainer, L.LightningModule())
    for step in range(len(resident)):
        callback.on_train_batch_start(trainer, L.LightningModule(), None, step)
    return returned


def test_level_memory_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rising = [1.0 + 0.2 * min(step, 10) for step in range(60)]  # in the first steps, to what a fit needs
    assert run_steps(monkeypatch, rising) == []


def test_memory_that_creeps_up_is_returned_within_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    creeping = [2.0 + 0.004 * max(step - 10, 0) for step in range(60)]
    (first, *_) = run_steps(monkeypatch, creeping)
    assert 1.08 < creeping[first] / creeping[10] < 1.1


def test_free_memory_is_returned_every_ten_steps_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the return does not help, because the fit needs more than at its start, it is not done again."""
    assert run_steps(monkeypatch, [2.0] * 15 + [3.0] * 100) == [15]
    growing = [2.0 * 1.1**step for step in range(60)]
    assert run_steps(monkeypatch, growing) == [11, 22, 33, 44, 55]


def test_as_many_kernels_are_kept_as_a_step_needs(tmp_path: Path) -> None:
    fit(tmp_path, max_steps=1)
    lengths = tiny.data_module(tmp_path).store("train").lengths
    expected = str(count_kernels(512, float(lengths.mean())))
    assert [os.environ[name] for name in VARIABLES] == [expected, expected]


def test_kernels_are_counted_for_the_largest_batch_where_it_is_not_measured_yet(tmp_path: Path) -> None:
    data = tiny.data_module(tmp_path, batch_tokens="auto")
    assert steady_memory._count_kernels(data) > steady_memory._count_kernels(tiny.data_module(tmp_path))
    assert data.step_size.is_auto
