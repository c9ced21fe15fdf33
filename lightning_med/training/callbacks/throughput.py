"""Speed and memory of a fit while it runs."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning as L
import torch

from lightning_med.model.flops import FlopCount, measure_gemm_peak
from lightning_med.training.optimization.optimizer import is_reported


class Throughput(L.Callback):
    """Logs at each interval, validation left out:

    - `train/tokens_per_second`: tokens of questions and answers; no prompt, no padding.
    - `train/utilisation`: the FLOPs that the loss needs, per second, over this machine's measured peak; see `flops`.
    - `train/data_wait`: the share of time in which the loop waited for its next batch.
    - `train/peak_memory_gib`: of this process on a CPU (not on Windows), of the tensors on a GPU.
    """

    def __init__(self) -> None:
        self._tokens, self._flops, self._seconds, self._since = 0, 0, 0.0, 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._count = FlopCount.from_network(pl_module.network)
        self._peak = measure_gemm_peak(pl_module.network, pl_module.device, _find_compute_dtype(trainer))
        self._since = time.perf_counter()  # a fit that resumes in mid-epoch has no epoch's start

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
        self._flops += self._count.count_step(int(lengths.sum()), int((lengths**2).sum()), learned)
        if not is_reported(trainer, batch_idx):
            return
        seconds = max(self._seconds, 1e-9)
        loader: Any = trainer.train_dataloader
        values = {"utilisation": self._flops / seconds / self._peak, "data_wait": loader.take_waited() / seconds}
        memory = _measure_peak_memory(pl_module.device)
        if memory is not None:
            values["peak_memory_gib"] = memory / 2**30
        pl_module.log_dict({f"train/{name}": value for name, value in values.items()})
        pl_module.log("train/tokens_per_second", self._tokens / seconds, prog_bar=True)
        self._tokens, self._flops, self._seconds = 0, 0, 0.0


def _find_compute_dtype(trainer: L.Trainer) -> torch.dtype:
    """Returns the dtype in which matrices are multiplied."""
    precision = str(trainer.precision)
    return torch.bfloat16 if "bf16" in precision else torch.float16 if "16" in precision else torch.float32


def _measure_peak_memory(device: torch.device) -> int | None:
    """Returns bytes, or `None` where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
