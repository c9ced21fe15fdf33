"""Optimizer steps of DialogueLM under a trainer: the mean over tokens, clipping, scaling, the order of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from transformers import GPT2Config, GPT2LMHeadModel

from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.data.batching.epoch_planner import EpochPlanner
from lightning_med.data.module import DialogueDataModule
from lightning_med.model.causal_lm import build_from_text, describe_network
from lightning_med.training.callbacks.forecast import Forecast
from lightning_med.training.module import DialogueLM
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.training.helpers import Norms, compute_mean_gradient, fit


def find_budget(folder: Path, batches: int) -> int:
    """Returns tokens per batch for which an epoch has so many batches."""
    for tokens in range(128, 20_000, 16):
        if len(tiny.data_module(folder, batch_tokens=tokens).plan_epoch(0)) == batches:
            return tokens
    raise AssertionError(f"no budget gives {batches} batches")


# ------------------------------------------------------------------ a step


@pytest.mark.parametrize("question_weight", [0.0, 0.5])
def test_a_step_over_three_uneven_batches_equals_a_step_over_one(
    folder: Path, tmp_path: Path, question_weight: float
) -> None:
    settings: dict[str, Any] = {"max_steps": 1, "model": {"question_weight": question_weight}}
    three, several_steps = fit(
        folder, tmp_path, {"batch_tokens": find_budget(folder, 3)}, accumulate_grad_batches=3, **settings
    )
    one, one_step = fit(folder, tmp_path, {"batch_tokens": 20_000}, **settings)
    assert sorted(several_steps.rows[0]) == sorted(one_step.rows[0])
    assert tiny.relative_l2(several_steps.gradients[0], one_step.gradients[0]) < 1e-5
    assert tiny.relative_l2(tiny.weights(three), tiny.weights(one)) < 1e-4


@pytest.mark.parametrize("kind", ["flat", "padded"])
def test_the_gradient_of_every_step_is_that_of_the_mean_over_its_tokens(
    folder: Path, tmp_path: Path, data: DialogueDataModule, kind: str
) -> None:
    """Includes the last step of an epoch, which has fewer batches than the others."""
    changes = {
        "batch_tokens": find_budget(folder, 5) if kind == "flat" else 10 * 128,
        "pad_to_max_length": kind == "padded",
    }
    model, steps = fit(
        folder, tmp_path, changes, accumulate_grad_batches=3, max_epochs=2, model={"question_weight": 0.25}
    )
    assert len(steps.rows) == 4
    assert len(steps.rows[1]) < len(steps.rows[0])
    network = build_from_text(describe_network(model.network)).eval()
    for rows, weights, gradients in zip(steps.rows, steps.weights, steps.gradients, strict=True):
        network.load_state_dict(weights)
        assert tiny.relative_l2(gradients, compute_mean_gradient(network, data, rows, 0.25)) < 1e-5


def test_an_epoch_contains_each_row_once(folder: Path, tmp_path: Path, data: DialogueDataModule) -> None:
    _, steps = fit(folder, tmp_path, max_epochs=2)
    half = len(steps.rows) // 2
    epochs = [[row for step in half_steps for row in step] for half_steps in (steps.rows[:half], steps.rows[half:])]
    for rows in epochs:
        assert sorted(rows) == list(range(len(data.store("train"))))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("clip", [None, 0.1])
def test_a_scaled_gradient_is_clipped_at_its_unscaled_norm(folder: Path, tmp_path: Path, clip: float | None) -> None:
    """float16 with a gradient scaler, on the CPU: the same norms and weights as in float32, with accumulation."""

    settings: dict[str, Any] = {"max_epochs": 1, "accumulate_grad_batches": 2, "gradient_clip_val": clip}
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    plugins = [AtomicCheckpointIO(), MixedPrecision("16-mixed", "cpu", scaler)]
    norms = Norms(), Norms()
    exact, _ = fit(folder, tmp_path, callbacks=[norms[0]], **settings)
    half, _ = fit(folder, tmp_path, callbacks=[norms[1]], precision=None, plugins=plugins, **settings)
    assert len(norms[0].values) > 1
    assert norms[1].values == pytest.approx(norms[0].values, rel=0.02)
    assert tiny.relative_l2(tiny.weights(half), tiny.weights(exact)) < 0.01


def test_a_scaled_gradient_that_overflows_changes_nothing(folder: Path, tmp_path: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    plugins = [AtomicCheckpointIO(), MixedPrecision("16-mixed", "cpu", scaler)]
    model, steps = fit(folder, tmp_path, max_steps=2, gradient_clip_val=1.0, precision=None, plugins=plugins)
    assert all(torch.equal(weight, steps.weights[0][name]) for name, weight in tiny.weights(model.network).items())
    assert scaler.get_scale() == 2.0**38


def test_clipping_bounds_the_gradient(folder: Path, tmp_path: Path) -> None:
    _, unclipped = fit(folder, tmp_path, max_steps=1)
    norm = float(torch.stack([g.norm() for g in unclipped.gradients[0].values()]).norm())
    assert norm > 0.01

    class Clipped(L.Callback):
        def on_before_zero_grad(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
            gradient_norms = [p.grad.norm() for p in pl_module.parameters() if p.grad is not None]
            if gradient_norms:
                norms.append(float(torch.stack(gradient_norms).norm()))

    norms: list[float] = []
    fit(folder, tmp_path, max_steps=2, gradient_clip_val=0.01, callbacks=[Clipped()])
    assert norms
    assert max(norms) <= 0.01 * 1.001


def test_a_pretrained_base_trains_with_its_dropout_and_validates_without(folder: Path, tmp_path: Path) -> None:
    GPT2LMHeadModel(
        GPT2Config(n_layer=1, n_embd=16, n_head=2, n_positions=160, vocab_size=300, eos_token_id=0)
    ).save_pretrained(tmp_path / "base")
    modes: list[tuple[str, bool]] = []

    class Modes(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
            modes.append(("train", all(m.training for m in pl_module.network.modules())))

        def on_validation_batch_start(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
            modes.append(("validate", any(m.training for m in pl_module.network.modules())))

    model = {"base": str(tmp_path / "base"), "from_scratch": None}
    fit(folder, tmp_path, max_epochs=2, model=model, callbacks=[Modes()])
    assert set(modes) == {("train", True), ("validate", False)}


def test_training_lowers_the_perplexity(folder: Path, tmp_path: Path) -> None:
    model, _ = fit(folder, tmp_path, max_epochs=1)
    before = model.results["val/perplexity"]
    model, _ = fit(folder, tmp_path, max_epochs=6)
    assert model.results["val/perplexity"] < before / 2


def test_equal_seeds_give_equal_runs(folder: Path, tmp_path: Path) -> None:
    first, second = (fit(folder, tmp_path, max_steps=3)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_settings_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No model"):
        DialogueLM(base=None)
    with pytest.raises(InputError, match="question_weight"):
        DialogueLM(question_weight=1.5)
    with pytest.raises(InputError, match="context"):
        fit(folder, tmp_path, model={"from_scratch": {**tiny.NETWORK, "n_positions": 32}})


def test_an_epoch_is_planned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The length of the fit, the forecast and the loader share the first epoch's plan."""
    orders: list[np.ndarray] = []
    plan = EpochPlanner._plan

    def count(self: EpochPlanner, order: np.ndarray, window: int, ranks: int) -> list[np.ndarray]:
        orders.append(order)
        return plan(self, order, window, ranks)

    monkeypatch.setattr(EpochPlanner, "_plan", count)
    trainer = tiny.trainer(tmp_path, callbacks=[Forecast()], max_epochs=2)
    trainer.fit(tiny.language_model(), tiny.data_module(tmp_path))
    assert len(orders) == 2
