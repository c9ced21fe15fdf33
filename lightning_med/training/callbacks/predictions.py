"""Predictions: an answer to each test question, in one file, in the order of the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
import torch

from lightning_med.safety import guard
from lightning_med.safety.messages.advice import resolve_file_region
from lightning_med.utils.files import write_text


def make_prediction(row: dict[str, Any], raw: str) -> dict[str, Any]:
    """Returns a line of `predictions.jsonl`.

    The network answers even where its answer will not be shown, so that both can be judged. The guard's region is
    unknown unless `$LIGHTNING_MED_REGION` names one, so that the file does not depend on the machine's language.

    Args:
        row: `row`, `source`, `question` and the reference `answer`.
        raw: What the network wrote.
    """
    guarded = guard(str(row["question"]), raw, resolve_file_region())
    return {
        "row": row["row"],
        "source": row["source"],
        "question": row["question"],
        "reference": row["answer"],
        "answer": guarded.answer,
        "raw": raw,
        "level": guarded.verdict.level,
        "category": guarded.verdict.category,
        "guard": guarded.actions,
    }


class PredictionWriter(L.Callback):
    """Writes `predictions.jsonl` when all questions are answered; an interrupted run leaves no file.

    Args:
        path: The file to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *args: Any, **kwargs: Any
    ) -> None:
        self._rows.extend(outputs)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        rows, self._rows = self._rows, []
        if trainer.world_size > 1:
            shares: list[list[dict[str, Any]]] = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(shares, rows)
            rows = [row for share in shares for row in share]
        if not trainer.is_global_zero:
            return
        rows.sort(key=lambda row: (row["source"], row["row"]))
        write_text(self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
