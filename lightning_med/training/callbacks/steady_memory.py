"""Keeps the memory of a fit at what a step needs, from the first step to the last."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch.optim import Optimizer

from lightning_med.utils.allocator import read_resident_memory, release_freed_memory

_GROWTH = 1.06  # of the resident memory, over what one step uses, from which on free memory is returned


class SteadyMemory(L.Callback):
    """Frees gradients before the next forward pass, and on a CPU returns free memory when it has grown.

    Lightning frees the gradients of a step between the next one's forward and backward pass, so that they and the
    activations are in memory together. Where a hook `on_before_zero_grad` may want to see them, they stay until then.

    Batches differ in size, so tensors do not come to lie where those of the step before were, and over many steps a
    process touches far more pages than one step needs. Returning the free ones costs a step some tenths of a second.
    """

    def __init__(self) -> None:
        self._frees = self._on_cpu = self._returned = False
        self._needed = 0  # resident bytes after one step that began with no free memory

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        hooks: list[Any] = [*trainer.callbacks, pl_module]  # type: ignore[attr-defined]
        plain = (L.Callback.on_before_zero_grad, L.LightningModule.on_before_zero_grad)
        self._frees = all(type(hook).on_before_zero_grad in plain for hook in hooks)
        self._on_cpu = trainer.strategy.root_device.type == "cpu"
        self._needed, self._returned = 0, False

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % trainer.accumulate_grad_batches:
            return
        for optimizer in trainer.optimizers if self._frees else ():
            if isinstance(optimizer, Optimizer):
                pl_module.optimizer_zero_grad(trainer.current_epoch, batch_idx, optimizer)
        if self._on_cpu:
            self._bound()

    def _bound(self) -> None:
        """Returns free memory to the system if there is much more of it than one step uses."""
        resident = read_resident_memory()
        if self._returned:
            self._needed = max(self._needed, resident)
        self._returned = resident > _GROWTH * self._needed
        if self._returned:
            release_freed_memory()
