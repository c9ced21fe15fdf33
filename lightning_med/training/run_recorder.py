"""A run's record in its folder: on which rows it is measured, in which tokens, how long it is to be, how it ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from lightning_med.checkpoints.run_record import OUT_OF_TIME, RunRecord
from lightning_med.training.checkpoint_contents import make_identity
from lightning_med.training.fit_loop.fit_end import find_end, is_out_of_time

_DIGITS = 16  # of a digest that is only compared


class RunRecorder(L.Callback):
    """Writes `run.json` before the first step, and at the end why the fit ended. A signal or a crash leaves no end.

    Args:
        run: The run's folder; without one nothing is written.
    """

    def __init__(self, run: Path | None) -> None:
        self.run = run
        self.record: RunRecord | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.run is not None and trainer.is_global_zero:
            self.record = describe_run(trainer, pl_module)
            self.record.write(self.run)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.run is not None and self.record is not None:
            end = find_end(trainer) or (OUT_OF_TIME if is_out_of_time(trainer) else "")
            replace(self.record, end=end, ended=_tell_time()).write(self.run)


def describe_run(trainer: L.Trainer, module: Any) -> RunRecord:
    """Returns the record of a fit that begins."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    identity = make_identity(module)
    return RunRecord(
        data=identity["data"],
        validation=digest_rows(data, "validation", trainer.limit_val_batches),
        test=digest_rows(data, "test"),
        tokenizer=identity["tokenizer"],
        prompt=sha256(identity["prompt"].encode()).hexdigest()[:_DIGITS],
        steps=module.total_steps,
        began=_tell_time(),
    )


def digest_rows(data: Any, split: str, limit: float = 1.0) -> str:
    """Returns a digest of the questions that an evaluation measures and of how much of their answers; empty for none.

    It does not depend on the tokenizer, unless that cuts other answers or puts other rows under a limit of batches.

    Args:
        data: The data module.
        split: Its name.
        limit: The trainer's limit of batches; 1.0 for all.
    """
    store, rows = data.store(split), data.select_measured(split, limit)
    if not len(rows):
        return ""
    keys, sizes = store.question_keys[rows], store.answer_bytes[rows].astype(np.uint64)
    order = np.lexsort((sizes, keys))
    return sha256(keys[order].tobytes() + sizes[order].tobytes()).hexdigest()[:_DIGITS]


def _tell_time() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
