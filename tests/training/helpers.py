"""Short fits whose steps are recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_med.data.module import DialogueDataModule
from lightning_med.tokenization.consultation import ANSWER, QUESTION
from lightning_med.training.module import DialogueLM
from tests import tiny

SEED = 7  # of tests/model_fixtures.py


class Norms(L.Callback):
    """Records the norm of each step's gradients."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_before_zero_grad(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
        if pl_module._gradient_norm is not None:
            self.values.append(float(pl_module._gradient_norm))


class Steps(L.Callback):
    """Records the rows, the weights before, the gradients and the learning rate of each optimizer step."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self.weights: list[dict[str, Tensor]] = []
        self.gradients: list[dict[str, Tensor]] = []
        self.rates: list[float] = []
        self._seen: list[int] = []

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._seen += batch["rows"]

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
        self.rows.append(self._seen)
        self._seen = []
        self.weights.append(tiny.weights(pl_module.network))
        self.gradients.append(
            {
                name: weight.grad.clone()
                for name, weight in pl_module.network.named_parameters()
                if weight.grad is not None
            }
        )
        self.rates.append(optimizer.param_groups[0]["lr"])


def fit(folder: Path, tmp_path: Path, data: dict[str, Any] | None = None, **changes: Any) -> tuple[DialogueLM, Steps]:
    """Returns the module after a short fit, and its recorded steps."""
    model_changes, steps = changes.pop("model", {}), Steps()
    ckpt_path = changes.pop("ckpt_path", None)
    callbacks = [*changes.pop("callbacks", []), steps]
    L.seed_everything(SEED, verbose=False)
    model = tiny.language_model(**model_changes)
    trainer = tiny.trainer(tmp_path, callbacks=callbacks, **changes)
    trainer.fit(model, tiny.data_module(folder, **(data or {})), ckpt_path=ckpt_path, weights_only=True)
    return model, steps


def compute_mean_gradient(
    network: Any, data: DialogueDataModule, rows: list[int], question_weight: float = 0.0
) -> dict[str, Tensor]:
    """Returns the gradient of the weighted mean loss over the learned tokens of these rows, one forward pass a row."""
    store, total, weight = data.store("train"), torch.zeros(()), 0.0
    network.zero_grad()
    for row in rows:
        ids, parts = torch.tensor(store.input_ids(row).astype(np.int64)), torch.tensor(store.parts(row)[1:])
        nll = cross_entropy(network(ids[None]).logits[0, :-1], ids[1:], reduction="none")
        importance = (parts == ANSWER).float() + question_weight * (parts == QUESTION).float()
        total, weight = total + (nll * importance).sum(), weight + float(importance.sum())
    (total / weight).backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def evaluate(
    folder: Path, tmp_path: Path, checkpoint: Path, verb: str = "test", model: Any = None, **data: Any
) -> dict[str, float]:
    """Returns the results of `test` or `validate`."""
    L.seed_everything(SEED, verbose=False)
    model = model or tiny.language_model()
    trainer = tiny.trainer(tmp_path)
    run = getattr(trainer, verb)
    run(model, tiny.data_module(folder, **data), ckpt_path=checkpoint, verbose=False, weights_only=True)
    return model.results
