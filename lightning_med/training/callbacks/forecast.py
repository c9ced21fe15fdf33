"""Estimates of what a fit will take: steps, memory, disk, and, once measured, time."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.distributed.tensor import DTensor

from lightning_med.data.batching.loaders import measure_rows
from lightning_med.training.batch_size import MOMENTS, count_trained, measure_free_memory, measure_step
from lightning_med.utils.console import say
from lightning_med.utils.memory.allocator import read_resident_memory, release_freed_memory

_WARM_UP, _MEASURED = 2, 8  # steps before the clock starts, and steps that it measures
_WORTH_SAYING = 20  # seconds
_OVERHEAD = 120 << 20  # bytes on a CPU: compiled kernels, workspaces and threads of the libraries; measured
_PAGE = 1024  # weights in float32 on a page of memory


class Forecast(L.Callback):
    """Prints the size of a fit at its start, and after a few steps how long it will take."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._first_step = 0
        self._total_steps: int | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._start = None
        parameters, trained = pl_module.count_weights()
        saved = trained if pl_module.adapter is not None else parameters  # weights in a checkpoint
        some = "" if trained == parameters else f", {trained / 1e6:.1f} M of them trained"
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._first_step, self._total_steps = trainer.global_step, pl_module.total_steps
        rows = np.concatenate(data.plan_epoch(0))  # as often as the sources' weights say
        held, more = estimate_memory(trainer, pl_module)
        say(
            f"{len(rows):,} consultations, {int(data.store('train').lengths[rows].sum()):,} tokens an epoch;"
            f" {self._describe_steps()}; {parameters / 1e6:.1f} M weights{some};"
            f" about {(held + more) / 2**30:.1f} GiB of memory in all, with {data.batch_tokens:,} tokens a batch;"
            f" {2 * (4 * saved + MOMENTS * trained) / 2**30:.2f} GiB of disk for two checkpoints.",
            trainer,
        )
        release_freed_memory()  # of the passes that measured it
        free = measure_free_memory(trainer.strategy.root_device)
        if more > free:
            say(
                f"Only {free / 2**30:.1f} GiB more are free, and {more / 2**30:.1f} are needed: give a smaller"
                " --data.batch_tokens, or auto; --data.tokens_per_step keeps the step.",
                trainer,
            )

    def _describe_steps(self) -> str:
        return "no end" if self._total_steps is None else f"{self._total_steps - self._first_step:,} steps"

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = trainer.global_step - self._first_step
        if done == _WARM_UP and self._start is None:
            self._start = time.perf_counter()
        elif done == _WARM_UP + _MEASURED and self._start is not None and self._total_steps is not None:
            left = self._total_steps - trainer.global_step
            seconds, self._start = (time.perf_counter() - self._start) / _MEASURED * left, None
            if seconds > _WORTH_SAYING:
                text = str(timedelta(seconds=round(seconds)))
                say(f"About {text} of training to go, validation left out.", trainer)


def estimate_memory(trainer: L.Trainer, pl_module: Any) -> tuple[int, int]:
    """Estimates the memory of a fit: of the whole process on a CPU, of torch on a GPU.

    Returns:
        The bytes that are held now, and those that the largest batch of an epoch adds: AdamW's averages where they are
        not there yet, gradients, activations.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    device, context = trainer.strategy.root_device, trainer.precision_plugin.forward_context
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else _read_held(pl_module)
    step = measure_step(pl_module.network, device, context, data.recipe.max_length)
    lengths, accumulates = measure_rows(data.store("train"), data.padded).astype(np.int64), data.window > 1
    sizes = [(int(lengths[rows].sum()), int((lengths[rows] ** 2).sum())) for rows in data.plan_epoch(0)]
    averages = MOMENTS * count_trained(pl_module.network)
    for optimizer in trainer.optimizers:  # a resumed fit has them already
        for state in optimizer.state.values():
            averages -= sum(value.nbytes for value in state.values() if isinstance(value, torch.Tensor))
    largest = max(step.estimate(*size, accumulates) for size in sizes)
    overhead = 0 if device.type == "cuda" else _OVERHEAD
    return held, int(max(averages, 0) + largest + overhead)


def _read_held(pl_module: Any) -> int:
    """Returns the resident bytes, weights included that are mapped from a file and have not been read yet."""
    release_freed_memory()
    for weight in pl_module.parameters():
        local = weight.to_local() if isinstance(weight, DTensor) else weight
        local.detach().flatten()[::_PAGE].sum()
    return read_resident_memory()
