"""Short fits whose steps are recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

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
