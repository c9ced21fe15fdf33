"""Predictions: an answer to each test question, in one file, in the order of the source."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import lightning as L

from lightning_med.data.splits.group_split import SPLITS
from lightning_med.inference.answer_identity import identify_answers
from lightning_med.inference.part_file import PartFile, check_unwritten
from lightning_med.safety import Verdict, guard, triage
from lightning_med.safety.answers.unsafe_content import COUNTED, count_unsafe_content, remove_fixed_texts
from lightning_med.safety.levels import ORDINARY
from lightning_med.safety.messages.advice import resolve_file_region
from lightning_med.utils.console import Progress, say

OVERWRITE = "--overwrite true"  # as the command takes it


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


def count_unsafe_predictions(path: Path, progress: Progress) -> dict[str, Any]:
    """Returns how many answers of a file of predictions hold unsafe content, as the model wrote them and guarded.

    Guarded answers are checked again without the texts of this package, as `evaluate` does.

    Args:
        path: `predictions.jsonl`, complete.
        progress: Reports answers.

    Returns:
        `answers`, how many there are; `raw` and `guarded`, the counts by name of `COUNTED`.
    """
    region, answers = resolve_file_region(), 0
    totals = {name: Counter(dict.fromkeys(COUNTED, 0)) for name in ("raw", "guarded")}
    with path.open(encoding="utf-8") as file:
        for answers, line in enumerate(file, start=1):
            progress("safety", answers, 0)
            row = json.loads(line)
            verdict = Verdict(ORDINARY) if row["level"] == ORDINARY else triage(row["question"], region)
            totals["raw"].update(count_unsafe_content([row["raw"]]))
            totals["guarded"].update(count_unsafe_content([remove_fixed_texts(row["answer"], verdict, region)]))
    return {"answers": answers, **{name: dict(total) for name, total in totals.items()}}


class PredictionWriter(L.Callback):
    """Writes the rows of `predictions.jsonl` as they come; those of an interrupted run are gone on with.

    Groups of questions that are answered already are passed over, so that all others are answered side by side as they
    would have been without the interruption. Each rank writes its own part, and the first one puts them together.

    Args:
        path: The file to write; it appears when all questions are answered.
        overwrite: Replace it if it is there, and discard the rows so far of another model, data or decoding.

    Raises:
        InputError: It is there already.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        check_unwritten(path, overwrite, OVERWRITE)
        self.path, self.overwrite = path, overwrite
        self._part: PartFile | None = None
        self._asked = 0  # rows of the file

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        questions, batches = trainer.predict_dataloaders.dataset, int(trainer.num_predict_batches[0])  # type: ignore[union-attr]
        identity = {
            **identify_answers(pl_module.network, data.encoder, pl_module.decoding),  # type: ignore[arg-type]
            "data": str(data.prepared.fingerprint)[:16],
            "choice of rows": hashlib.sha256(questions.rows.tobytes()).hexdigest()[:16],
            "precision": str(trainer.precision),
            "limit_predict_batches": str(trainer.limit_predict_batches),
            "region": resolve_file_region(),
        }
        wait = trainer.strategy.barrier
        self._part = PartFile(self.path, identity, self.overwrite, OVERWRITE, trainer.global_rank, wait)
        pl_module.answered = self._part.written  # type: ignore[assignment]
        self._asked = sum(map(len, questions.groups[: batches * trainer.world_size]))
        of = sum(len(data.store(split)) for split in SPLITS)
        there = f"; {len(self._part.written):,} are answered already" if self._part.written else ""
        say(f"Answers {self._asked:,} of the data's {of:,} questions, those of its test split{there}.", trainer)

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *args: Any, **kwargs: Any
    ) -> None:
        if outputs and self._part is not None:
            self._part.append({row["number"]: answer for row, answer in zip(batch, outputs, strict=True)})

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._part is None:
            return
        pl_module.answered = ()  # type: ignore[assignment]
        trainer.strategy.barrier()  # all ranks have written their rows
        if trainer.is_global_zero:
            self._part.complete(self._asked, lambda key, row: (row["source"], row["row"]))
        self._part.close()
        self._part = None

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self._part is None:
            return
        pl_module.answered = ()  # type: ignore[assignment]
        self._part.close()
        say(f"{len(self._part.written):,} answers are in {self._part.path}; the same command goes on.", trainer)
        self._part = None
