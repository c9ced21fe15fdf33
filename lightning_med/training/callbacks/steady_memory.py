"""Keeps the memory of a fit at what its first steps need."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch.optim import Optimizer

from lightning_med.data.module import DialogueDataModule
from lightning_med.training.batch_size import CPU, MOST
from lightning_med.utils.memory.allocator import read_resident_memory, release_freed_memory
from lightning_med.utils.memory.kernel_cache import DEFAULT, count_kernels, limit_kernel_cache

_STEPS = 10  # that show how much memory a fit needs, and that lie between two returns of free memory at least
_GROWTH = 1.08  # of the resident memory since then, from which on free memory is returned


class SteadyMemory(L.Callback):
    """Frees gradients before the next forward pass, and on a CPU bounds kernels and free memory.

    Lightning frees the gradients of a step between the next one's forward and backward pass, so that they and the
    activations are in memory together. Where a hook `on_before_zero_grad` may want to see them, they stay until then.

    Batches differ in size, so tensors do not come to lie where those of the step before were. Over many steps the
    process touches more and more pages, though no step needs more. Free ones are returned where they exceed what the
    first steps left. The pages of the next step are then zeroed anew, so this must be rare.
    """

    def __init__(self) -> None:
        self._frees = self._on_cpu = False
        self._steps = self._needed = 0  # steps since free memory was returned; resident bytes after `_STEPS` of them

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.strategy.root_device.type == CPU and stage != "predict":
            limit_kernel_cache(_count_kernels(data) if isinstance(data, DialogueDataModule) else DEFAULT)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        hooks: list[Any] = [*trainer.callbacks, pl_module]  # type: ignore[attr-defined]
        plain = (L.Callback.on_before_zero_grad, L.LightningModule.on_before_zero_grad)
        self._frees = all(type(hook).on_before_zero_grad in plain for hook in hooks)
        self._on_cpu = trainer.strategy.root_device.type == CPU
        self._steps = self._needed = 0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx % trainer.accumulate_grad_batches:
            return
        for optimizer in trainer.optimizers if self._frees else ():
            if isinstance(optimizer, Optimizer):
                pl_module.optimizer_zero_grad(trainer.current_epoch, batch_idx, optimizer)
        if self._on_cpu:
            self._bound_free_memory()
            self._steps += 1

    def _bound_free_memory(self) -> None:
        if self._steps < _STEPS:
            return
        resident = read_resident_memory()
        if self._steps == _STEPS:
            self._needed = max(self._needed, resident)
        if resident > _GROWTH * self._needed:
            release_freed_memory()
            self._steps = 0


def _count_kernels(data: DialogueDataModule) -> int:
    tokens = MOST[CPU] if data.step_size.is_auto else data.batch_tokens  # `auto` is measured later
    lengths = data.store("train").lengths
    return count_kernels(tokens, float(lengths.mean()) if len(lengths) else 1.0)
