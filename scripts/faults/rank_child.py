"""One of the processes that train together: writes down the losses, the first gradient and the last weights.

torchrun --nproc_per_node 2 scripts/faults/rank_child.py CONFIG OPTIMIZER STRATEGY STEPS OUTPUT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from torch import Tensor
from torch.distributed.tensor import DTensor

from lightning_med.data.module import DialogueDataModule
from lightning_med.training.module import DialogueLM


class Written(L.Callback):
    """Losses over all ranks, the first gradient as the optimizer sees it."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.gradient: dict[str, Tensor] = {}

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
        loss = pl_module.loss_monitor._loss.double().clone()
        if trainer.world_size > 1:
            torch.distributed.all_reduce(loss)
        self.losses.append(float(loss))
        if not self.gradient:
            self.gradient = {name: whole(weight.grad).clone() for name, weight in pl_module.named_parameters()}


class Descent(DialogueLM):
    """The same with plain gradient descent, which does not turn rounding into full steps as Adam does."""

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_start(self) -> None:
        pass


def whole(tensor: Any) -> Tensor:
    """A tensor of which each rank has a share; every rank must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def main(config: str, optimizer: str, strategy: str, steps: str, output: str) -> None:
    torch.set_num_threads(1)
    settings, ranks = yaml.safe_load(Path(config).read_text()), int(os.environ.get("WORLD_SIZE", 1))
    L.seed_everything(42)
    written = Written()
    trainer = L.Trainer(
        accelerator="cpu",
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
        strategy=strategy if ranks > 1 else "auto",
        max_steps=int(steps),
        max_epochs=-1,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[written],
    )
    network = {**settings["model"]["from_scratch"], "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    model = (Descent if optimizer == "sgd" else DialogueLM)(**{**settings["model"], "from_scratch": network})
    trainer.fit(model, DialogueDataModule(**{**settings["data"], "tokens_per_step": 600}))
    weights = {name: whole(weight.detach()) for name, weight in model.named_parameters()}
    if trainer.is_global_zero:
        torch.save({"losses": written.losses, "gradient": written.gradient, "weights": weights}, output)
    if ranks > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
