"""A fit with any option that changes the weights ends with the weights of a plain PyTorch loop, after 20 steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import (
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LambdaCallback,
    Timer,
    WeightAveraging,
)
from lightning.pytorch.plugins import Precision
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.model.causal_lm import build_from_text, describe_network
from lightning_med.training.module import DialogueLM
from tests import tiny
from tests.training.helpers import SEED, compute_mean_gradient

pytestmark = pytest.mark.slow
Plan = list[np.ndarray]
LR, DECAY, WARMUP = 3e-3, 0.01, 0.25
BOUNDS = {"sgd": 1e-6, "adamw": 1e-5}  # relative L2 of the final weights


class Descent(DialogueLM):
    """Trains with plain gradient descent."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1)
        return {"optimizer": optimizer}


class StopAt(L.Callback):
    """Ends a fit early after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.steps


@dataclass
class Case:
    """A fit and what a plain loop must do to be equal to it.

    Attributes:
        options: Of the trainer.
        epochs: How many a plain loop runs at most.
        select: Returns the batches that an epoch runs, given the plan of each epoch and the number of this one.
        window: Returns the batches of a step in an epoch.
        most: Steps at most.
        clip: How gradients are clipped: algorithm and bound.
        has_end: Whether the schedule knows its end.
        average: How the final weights are averaged.
    """

    options: dict[str, Any]
    epochs: int = 3
    select: Callable[[Callable[[int], Plan], int], Plan] = lambda plan, epoch: plan(epoch)
    window: Callable[[int], int] = lambda epoch: 1
    most: int = 20
    clip: tuple[str, float] | None = None
    has_end: bool = True
    average: Callable[..., Any] | None = None
    plugins: list[Any] = field(default_factory=list)


CASES = {
    "max_steps": Case({"max_steps": 20, "max_epochs": -1}),
    "max_epochs": Case({"max_epochs": 2}, epochs=2),
    "the lesser of both": Case({"max_epochs": 2, "max_steps": 12}, epochs=2, most=12),
    "fast_dev_run": Case({"fast_dev_run": 5}, most=5),
    "accumulate_grad_batches": Case(
        {"max_epochs": 7, "accumulate_grad_batches": 3}, 7, window=lambda epoch: 3, most=21
    ),
    **{
        f"limit_train_batches {limit}, accumulation {window}": Case(
            {"max_epochs": 10, "max_steps": 20, "limit_train_batches": limit, "accumulate_grad_batches": window},
            10,
            lambda plan, epoch, limit=limit: plan(epoch)[
                : limit if isinstance(limit, int) else int(len(plan(epoch)) * limit)
            ],
            lambda epoch, window=window: window,
        )
        for limit, window in ((3, 2), (3, 4), (5, 4), (0.5, 1), (0.6, 3), (100, 2))
    },
    "overfit_batches": Case({"max_epochs": 10, "overfit_batches": 2}, 10, lambda plan, epoch: plan(0)[:2]),
    "overfit_batches, a share": Case(
        {"max_epochs": 5, "overfit_batches": 0.5, "limit_val_batches": 0},
        5,
        lambda plan, epoch: plan(0)[: int(len(plan(0)) / 2)],
    ),
    "overfit_batches, accumulation": Case(
        {"max_epochs": 10, "overfit_batches": 3, "accumulate_grad_batches": 2},
        10,
        lambda plan, epoch: plan(0)[:3],
        lambda epoch: 2,
    ),
    "GradientAccumulationScheduler": Case(
        {"max_epochs": 5, "callbacks": [GradientAccumulationScheduler({0: 4, 1: 2, 3: 3})]},
        5,
        window=lambda epoch: (4, 2, 2, 3, 3)[epoch],
    ),
    "GradientAccumulationScheduler, limited": Case(
        {"max_epochs": 8, "limit_train_batches": 5, "callbacks": [GradientAccumulationScheduler({1: 3})]},
        8,
        lambda plan, epoch: plan(epoch)[:5],
        window=lambda epoch: 3 if epoch else 1,
    ),
    "gradient_clip_val": Case({"max_steps": 20, "gradient_clip_val": 0.05}, clip=("norm", 0.05)),
    "gradient_clip_algorithm": Case(
        {"max_steps": 20, "gradient_clip_val": 0.002, "gradient_clip_algorithm": "value"}, clip=("value", 0.002)
    ),
    "gradient_clip_val, off": Case({"max_steps": 20, "gradient_clip_val": -1.0}),
    "no end": Case({"max_epochs": -1, "callbacks": [StopAt(20)]}, has_end=False),
    "max_time": Case({"max_epochs": -1, "max_time": "01:00:00:00", "callbacks": [StopAt(20)]}, has_end=False),
    "max_time, an end is known": Case({"max_steps": 20, "max_time": "01:00:00:00"}),
    "Timer": Case({"max_steps": 20, "callbacks": [Timer("01:00:00:00")]}),
    "WeightAveraging": Case({"max_steps": 20, "callbacks": [WeightAveraging(device=None)]}, average=AveragedModel),
    "EMAWeightAveraging": Case(
        {"max_steps": 20, "callbacks": [EMAWeightAveraging(device=None, decay=0.9)]},
        average=lambda network: AveragedModel(network, avg_fn=get_ema_avg_fn(0.9)),
    ),
    "LambdaCallback": Case({"max_steps": 20, "callbacks": [LambdaCallback(on_fit_start=lambda *args: None)]}),
    "64-true": Case({"max_steps": 20, "precision": "64-true"}),
    "SingleDeviceStrategy": Case({"max_steps": 20, "strategy": SingleDeviceStrategy("cpu"), "accelerator": "auto"}),
    "Precision": Case({"max_steps": 20, "precision": None}, plugins=[Precision()]),
}


def count_steps(case: Case, plan: Callable[[int], Plan]) -> int:
    total = sum(math.ceil(len(case.select(plan, epoch)) / case.window(epoch)) for epoch in range(case.epochs))
    return min(total, case.most)


def rate(step: int, total: int, warmup: int) -> float:
    """A linear warm-up, then half a cosine; without a total it stays."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1))) if total else 1.0


def clip(network: torch.nn.Module, algorithm: str, bound: float) -> None:
    if algorithm == "value":
        torch.nn.utils.clip_grad_value_(network.parameters(), bound)
    else:
        torch.nn.utils.clip_grad_norm_(network.parameters(), bound)


def train_plainly(case: Case, kind: str, network: Any, data: Any, plan: Callable[[int], Plan]) -> dict[str, Tensor]:
    """Returns the weights after a loop that knows nothing of Lightning: one forward pass a row, one sum a step."""
    decayed = [weight for weight in network.parameters() if weight.dim() >= 2]
    others = [weight for weight in network.parameters() if weight.dim() < 2]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer: Any = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95))
    if kind == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    total, averaged, step = count_steps(case, plan), case.average and case.average(network), 0
    warmup = max(round((total if case.has_end else math.ceil(len(plan(0)))) * WARMUP), 1)
    for epoch in range(case.epochs):
        batches, window = case.select(plan, epoch), case.window(epoch)
        for first in range(0, len(batches), window):
            if step == case.most:
                break
            rows = [int(row) for batch in batches[first : first + window] for row in batch]
            compute_mean_gradient(network, data, rows)
            if case.clip:
                clip(network, *case.clip)
            if kind == "adamw":
                for group in optimizer.param_groups:
                    group["lr"] = LR * rate(step, total if case.has_end else 0, warmup)
            optimizer.step()
            step += 1
            if averaged is not None:
                averaged.update_parameters(network)
    assert step == total
    return tiny.weights(network if averaged is None else averaged.module)


def fit(case: Case, kind: str, folder: Path, place: Path) -> tuple[DialogueLM, Any, int]:
    """Returns the module after a fit, a copy of its network as it was before, and the number of steps."""
    L.seed_everything(SEED, verbose=False)
    made = Descent if kind == "sgd" else DialogueLM
    settings = {"base": None, "from_scratch": tiny.NETWORK, "lr": LR, "weight_decay": DECAY, "warmup_fraction": WARMUP}
    module = made(**settings, **tiny.GREEDY)
    copies: list[Any] = []

    class Copy(L.Callback):
        def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
            network = build_from_text(describe_network(pl_module.network))
            network.load_state_dict(pl_module.network.state_dict())
            copies.append(network.float())

    options = {
        "max_epochs": None,
        "gradient_clip_val": None,
        "plugins": [AtomicCheckpointIO(), *case.plugins],
        **case.options,
    }
    options = copy.deepcopy(options)  # objects of Lightning serve one trainer
    trainer = tiny.trainer(place, **{**options, "callbacks": [*options.get("callbacks", []), Copy()]})
    trainer.fit(module, tiny.data_module(folder))
    return module, copies[0], trainer.global_step


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("name", CASES)
def test_a_fit_is_a_plain_loop(folder: Path, tmp_path: Path, name: str, kind: str) -> None:
    case, data = CASES[name], tiny.data_module(folder)
    if kind == "sgd" and case.average:
        pytest.skip("averages do not depend on the optimizer")
    module, network, steps = fit(case, kind, folder, tmp_path)
    expected = train_plainly(case, kind, network.train(), data, data.plan_epoch)
    assert steps == count_steps(case, data.plan_epoch) >= 5
    ours = {weight: value.float() for weight, value in tiny.weights(module.network).items()}
    assert tiny.relative_l2(ours, expected) < BOUNDS[kind]
