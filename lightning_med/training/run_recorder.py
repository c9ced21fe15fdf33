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
    limits = [trainer.limit_val_batches, trainer.overfit_batches]  # type: ignore[attr-defined]
    is_whole = limits == [1.0, 0.0]
    return RunRecord(
        data=identity["data"],
        validation=_digest_rows(data.store("validation"), [] if is_whole else [*limits, data.batch_tokens]),
        test=_digest_rows(data.store("test"), []),
        tokenizer=identity["tokenizer"],
        prompt=sha256(identity["prompt"].encode()).hexdigest()[:_DIGITS],
        steps=module.total_steps,
        began=_tell_time(),
    )


def _tell_time() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _digest_rows(store: Any, limits: list[Any]) -> str:
    """Returns a digest of a split's questions and of how much of their answers is measured; empty without rows.

    It does not depend on the tokenizer, unless that cuts other answers.
    """
    if not len(store):
        return ""
    keys, sizes = store.question_keys, store.answer_bytes.astype(np.uint64)
    order = np.lexsort((sizes, keys))
    digest = sha256(keys[order].tobytes())
    digest.update(sizes[order].tobytes())
    digest.update(repr(limits).encode() if limits else b"")
    return digest.hexdigest()[:_DIGITS]
