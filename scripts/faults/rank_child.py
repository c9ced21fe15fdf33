"""One rank of a fit on several processes; saves the losses, the first gradient and the final weights.

torchrun --nproc_per_node 2 scripts/faults/rank_child.py CONFIG OPTIMIZER STRATEGY STEPS OUTPUT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
import torch
import yaml
from torch import Tensor
from torch.distributed.distributed_c10d import _get_default_store
from torch.distributed.elastic.utils.store import barrier
from torch.distributed.tensor import DTensor

from lightning_med.data.module import DialogueDataModule
from lightning_med.training.module import DialogueLM


class Recorder(L.Callback):
    """Records the loss of each step, summed over all ranks, and the first gradient, as the optimizer receives it."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.gradient: dict[str, Tensor] = {}

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
        loss = pl_module.loss_monitor._loss.double().clone()
        if trainer.world_size > 1:
            torch.distributed.all_reduce(loss)
        self.losses.append(float(loss))
        if not self.gradient:
            weights = pl_module.named_parameters()
            self.gradient = {name: gather_tensor(weight.grad).clone() for name, weight in weights}


class SGDModule(DialogueLM):
    """Trains with plain gradient descent, which does not amplify rounding errors as Adam does."""

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_start(self) -> None:
        pass


def gather_tensor(tensor: Any) -> Tensor:
    """Returns the full tensor of which each rank holds a shard; all ranks must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def exit_together(ranks: int) -> NoReturn:
    """Ends the process once all ranks have got here, without shutting down the interpreter.

    Caches of torch keep the device mesh of a sharded network alive, and with it the process groups. Their Gloo threads
    survive `destroy_process_group` and can abort the process (SIGABRT) while the interpreter shuts down. A rank that
    fails does not get here: torchrun reports it and stops the others.
    """
    barrier(_get_default_store(), ranks, "finished")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def main(config: str, optimizer: str, strategy: str, steps: str, output: str) -> None:
    """Fits a network without dropout and lets rank 0 save the results."""
    torch.set_num_threads(1)
    settings, ranks = yaml.safe_load(Path(config).read_text()), int(os.environ.get("WORLD_SIZE", 1))
    L.seed_everything(42)
    recorder = Recorder()
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
        callbacks=[recorder],
    )
    network = {**settings["model"]["from_scratch"], "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    module = (SGDModule if optimizer == "sgd" else DialogueLM)(**{**settings["model"], "from_scratch": network})
    trainer.fit(module, DialogueDataModule(**{**settings["data"], "tokens_per_step": 600}))
    weights = {name: gather_tensor(weight.detach()) for name, weight in module.named_parameters()}
    if trainer.is_global_zero:
        torch.save({"losses": recorder.losses, "gradient": recorder.gradient, "weights": weights}, output)
    if ranks > 1:
        exit_together(ranks)


if __name__ == "__main__":
    main(*sys.argv[1:])
