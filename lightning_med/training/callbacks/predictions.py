"""Predictions: an answer to each test question, in one file, in the order of the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
import torch

from lightning_med.utils.files import write_text


class PredictionWriter(L.Callback):
    """Writes `predictions.jsonl` when all questions are answered; interrupted, it leaves no file.

    Args:
        path: Where to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *args: Any, **kwargs: Any
    ) -> None:
        self._rows.extend(outputs)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.world_size > 1:
            shares: list[list[dict[str, Any]]] = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(shares, self._rows)
            self._rows = [row for share in shares for row in share]
        if not trainer.is_global_zero:
            return
        self._rows.sort(key=lambda row: (row["source"], row["row"]))
        write_text(self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self._rows))
