"""What a run records about itself: its rows, its length, its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def test_a_part_of_the_rows_is_not_all_of_them(folder: Path) -> None:
    data = tiny.data_module(folder)
    whole = digest_rows(data, "validation", [1.0])
    assert whole == digest_rows(data, "validation")
    assert len({whole, digest_rows(data, "validation", [1]), digest_rows(data, "validation", [0.5])}) == 3
