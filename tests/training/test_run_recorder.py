"""What a run records about itself: its rows, its length, its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import Timer

from lightning_med.checkpoints.run_record import RunRecord
from lightning_med.training.run_recorder import RunRecorder, digest_rows
from tests import tiny


class OutOfTime(Timer):
    """Its time is over after the third batch."""

    def __init__(self) -> None:
        super().__init__("00:01:00:00")
        self.batches = 0

    def time_elapsed(self, stage: str = "train") -> float:
        return 1200.0 * self.batches

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.batches += 1
        super().on_train_batch_end(*args, **kwargs)


def record(folder: Path, run: Path, *callbacks: Any, **changes: Any) -> RunRecord:
    """Returns the record of a short fit."""
    run.mkdir(exist_ok=True)
    trainer = tiny.trainer(run, callbacks=[*callbacks, RunRecorder(run)], **changes)
    trainer.fit(tiny.language_model(), tiny.data_module(folder))
    found = RunRecord.read(run)
    assert found is not None
    return found


def test_the_record_says_how_long_the_run_is_and_how_it_ended(folder: Path, tmp_path: Path) -> None:
    ended = record(folder, tmp_path / "a", max_steps=2)
    assert (ended.steps, ended.end) == (2, "steps")
    assert ended.began <= ended.ended
    cut = record(folder, tmp_path / "b", OutOfTime(), max_epochs=1)
    assert (cut.steps, cut.end) == (8, "time")


def test_a_fit_that_breaks_off_has_a_record_without_an_end(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        record(folder, tmp_path, Breaking(), max_epochs=1)
    found = RunRecord.read(tmp_path)
    assert found is not None
    assert (found.steps, found.end, found.ended) == (8, "", "")


class Breaking(Timer):
    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        raise KeyError("broken")


def test_equal_rows_have_equal_digests_whatever_the_tokenizer(folder: Path, tmp_path: Path) -> None:
    first, other = tiny.data_module(folder), tiny.data_module(folder, vocab_size=320)
    for split in ("validation", "test"):
        assert digest_rows(first, split) == digest_rows(other, split)
    assert digest_rows(first, "test") != digest_rows(first, "validation")
    assert first.prepared.fingerprint != other.prepared.fingerprint
    moved = tiny.data_module(folder, seed=5)
    assert digest_rows(moved, "validation") != digest_rows(first, "validation")


class Measured(L.Callback):
    """Notes the rows of each validation batch."""

    def __init__(self) -> None:
        self.rows: set[int] = set()

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, *args: Any) -> None:
        self.rows.update(batch["rows"])


@pytest.mark.parametrize(
    ("limit", "is_all", "padded"), [(1, False, False), (2, False, True), (0.5, False, False), (100, True, False)]
)
def test_the_digest_is_of_the_rows_that_a_limited_validation_measures(
    folder: Path, tmp_path: Path, limit: float, is_all: bool, padded: bool
) -> None:
    data = tiny.data_module(folder, val_fraction=0.3, pad_to_max_length=padded)
    noted = Measured()
    trainer = tiny.trainer(tmp_path, callbacks=[noted], limit_val_batches=limit)
    trainer.validate(tiny.language_model(), data, verbose=False)
    rows = data.select_measured("validation", trainer.limit_val_batches)
    assert set(rows.tolist()) == noted.rows
    assert (digest_rows(data, "validation", limit) == digest_rows(data, "validation")) == is_all


def test_under_a_limit_other_tokens_or_more_ranks_have_another_digest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tiny.data_module(folder, val_fraction=0.3)
    other = tiny.data_module(folder, val_fraction=0.3, vocab_size=512)
    assert digest_rows(first, "validation") == digest_rows(other, "validation")
    assert len(first.select_measured("validation", 2)) != len(other.select_measured("validation", 2))
    assert digest_rows(first, "validation", 2) != digest_rows(other, "validation", 2)
    alone = digest_rows(first, "validation", 1)
    monkeypatch.setattr(type(first), "ranks", 2)
    assert len(first.select_measured("validation", 1)) > 1
    assert digest_rows(first, "validation", 1) != alone


def test_validate_measures_the_rows_that_the_fit_has_recorded(folder: Path, tmp_path: Path) -> None:
    config = tiny.config(folder, max_steps=1, limit_val_batches=1)
    assert tiny.command("fit", "--config", config, cwd=tmp_path)[0] == 0
    run = tmp_path / "lightning_logs" / "tiny" / "version_0"
    options = ("--config", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt")
    assert tiny.command("validate", *options, cwd=tmp_path)[0] == 0
    found = RunRecord.read(run)
    assert found is not None
    assert json.loads((run / "validate.json").read_text())["rows"] == found.validation != ""
