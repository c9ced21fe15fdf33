"""Throughput: useful tokens a second, and what a fit will take."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any

import lightning as L
import numpy as np
import torch

from lightning_med.training.flops import FlopCount, measure_gemm_peak
from lightning_med.training.optimizer import ends_step
from lightning_med.utils.console import say


class Throughput(L.Callback):
    """Logs, at each interval, validation left out:

    - `train/tokens_per_second`: tokens of questions and answers; no prompt, no padding.
    - `train/utilisation`: the arithmetic that the loss needs over time and this machine's peak; see `arithmetic`.
    - `train/data_wait`: the share of time in which the loop waited for its next batch.
    - `train/peak_memory_gib`: of this process on a processor, of the tensors on a GPU.
    """

    def __init__(self) -> None:
        self._tokens, self._work, self._seconds, self._since = 0, 0, 0.0, 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._arithmetic = FlopCount.of(pl_module.network)
        self._peak = measure_gemm_peak(pl_module.network, pl_module.device, _find_compute_dtype(trainer))
        self._since = time.perf_counter()  # a fit that goes on in mid-epoch has no epoch's start

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._seconds += time.perf_counter() - self._since

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self._seconds, self._since = self._seconds + now - self._since, now
        self._tokens += len(batch["targets"])
        lengths = trainer.datamodule.store("train").lengths[batch["rows"]]  # type: ignore[attr-defined]
        learned = len(batch["targets"]) if pl_module.hparams.get("question_weight") else batch["answers"]
        self._work += self._arithmetic.step(int(lengths.sum()), int((lengths**2).sum()), learned)
        if not ends_step(trainer, batch_idx) or trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        seconds = max(self._seconds, 1e-9)
        loader: Any = trainer.train_dataloader
        values = {
            "utilisation": self._work / seconds / self._peak,
            "data_wait": loader.waited / seconds,
            "peak_memory_gib": _measure_peak_memory(pl_module.device) / 2**30,
        }
        pl_module.log_dict({f"train/{name}": value for name, value in values.items()})
        pl_module.log("train/tokens_per_second", self._tokens / seconds, prog_bar=True)
        self._tokens, self._work, self._seconds, loader.waited = 0, 0, 0.0, 0.0


def _find_compute_dtype(trainer: L.Trainer) -> torch.dtype:
    """What matrices are multiplied in."""
    precision = str(trainer.precision)
    return torch.bfloat16 if "bf16" in precision else torch.float16 if "16" in precision else torch.float32


def _measure_peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # Windows has none

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Forecast(L.Callback):
    """Says at the start of a fit what it will take: steps, memory of the weights, disk, and, once measured, time."""

    _warm, _measured = 2, 8  # steps before the clock starts, and before it is read

    def __init__(self) -> None:
        self._start = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        parameters = sum(p.numel() for p in pl_module.parameters())
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._first, self._total = trainer.global_step, pl_module.total_steps
        rows = np.concatenate(data.epoch_plan(0))  # as often as the sources' weights say
        say(
            f"{len(rows):,} consultations, {int(data.store('train').lengths[rows].sum()):,} tokens an epoch;"
            f" {self._total - self._first:,} steps; {parameters / 1e6:.1f} M weights:"
            f" {parameters * 16 / 2**30:.2f} GiB with gradients and optimizer, beside a batch's activations;"
            f" {parameters * 24 / 2**30:.2f} GiB of disk for two checkpoints.",
            trainer,
        )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = trainer.global_step - self._first
        if done == self._warm and not self._start:
            self._start = time.perf_counter()
        elif done == self._warm + self._measured and self._start:
            seconds = (time.perf_counter() - self._start) / self._measured * (self._total - trainer.global_step)
            self._start = -1.0
            if seconds > 20:
                text = str(timedelta(seconds=round(seconds)))
                say(f"About {text} of training to go, validation left out.", trainer)
