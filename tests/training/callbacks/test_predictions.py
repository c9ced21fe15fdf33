"""The file of predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest

from lightning_med.data.batching import loaders
from lightning_med.data.batching.loaders import LoaderFactory
from lightning_med.inference.generation import generate_answers
from lightning_med.inference.part_file import get_part_path
from lightning_med.training.callbacks.predictions import PredictionWriter
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.training.callbacks.helpers import predict


def test_predictions_have_a_line_for_each_test_question_in_source_order(
    folder: Path, tmp_path: Path, checkpoint: Path
) -> None:
    path = tmp_path / "predictions.jsonl"
    predict(folder, tmp_path, checkpoint, PredictionWriter(path))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    store = tiny.data_module(folder).store("test")
    expected = sorted((store.texts(row) for row in range(len(store))), key=lambda text: (text["source"], text["row"]))
    assert [row["row"] for row in rows] == [text["row"] for text in expected]
    for row, text in zip(rows, expected, strict=True):
        assert (row["question"], row["reference"], row["source"]) == (text["question"], text["answer"], text["source"])
        assert {"answer", "raw"} <= set(row)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two questions a group; fills with the size of each group that is answered."""
    monkeypatch.setitem(loaders._QUESTIONS, "cpu", 2)
    sizes: list[int] = []

    def record(network: Any, encoder: Any, questions: list[str], *args: Any) -> list[str]:
        sizes.append(len(questions))
        return generate_answers(network, encoder, questions, *args)

    monkeypatch.setattr("lightning_med.training.evaluated_module.generate_answers", record)
    return sizes


class Stop(L.Callback):
    """Ends the machine after so many groups."""

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def on_predict_batch_end(self, trainer: Any, module: Any, outputs: Any, *args: Any, **kwargs: Any) -> None:
        self.groups -= bool(outputs)
        if self.groups == 0:
            raise RuntimeError("the machine goes down")


def interrupt(folder: Path, tmp_path: Path, checkpoint: Path, groups: int, **changes: Any) -> Path:
    """Predicts until so many groups are answered; returns the file that is not there yet."""
    path = tmp_path / "predictions.jsonl"
    with pytest.raises(RuntimeError, match="goes down"):
        predict(folder, tmp_path, checkpoint, PredictionWriter(path), Stop(groups), **changes)
    assert not path.exists()
    return path


@pytest.mark.parametrize("stops", [(1,), (4,), (2, 1)], ids=str)
def test_interrupted_predictions_are_gone_on_with(
    folder: Path,
    tmp_path: Path,
    checkpoint: Path,
    groups: list[int],
    stops: tuple[int, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = tmp_path / "whole.jsonl"
    predict(folder, tmp_path, checkpoint, PredictionWriter(whole))
    rows = sum(groups)
    for stop in stops:
        path = interrupt(folder, tmp_path, checkpoint, stop)
    assert f"{2 * sum(stops)} answers are in {get_part_path(path)}" in capsys.readouterr().out.replace("\n", "")
    groups.clear()
    predict(folder, tmp_path, checkpoint, PredictionWriter(path))
    assert sum(groups) == rows - 2 * sum(stops)
    assert path.read_bytes() == whole.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["predictions.jsonl", "whole.jsonl"]


def test_what_is_answered_of_how_many_is_said(
    folder: Path, tmp_path: Path, checkpoint: Path, groups: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    predict(folder, tmp_path, checkpoint, PredictionWriter(tmp_path / "all.jsonl"))
    assert f"Answers {sum(groups)} of the data's 60 questions" in capsys.readouterr().out
    predict(folder, tmp_path, checkpoint, PredictionWriter(tmp_path / "some.jsonl"), limit_predict_batches=2)
    assert "Answers 4 of the data's 60 questions" in capsys.readouterr().out
    assert len((tmp_path / "some.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize("what", ["max_new_tokens", "limit_predict_batches", "model"])
def test_predictions_of_another_model_or_setting_are_not_mixed(
    folder: Path, tmp_path: Path, checkpoint: Path, groups: list[int], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = interrupt(folder, tmp_path, checkpoint, 2)
    changes: dict[str, Any] = {}
    if what == "model":
        monkeypatch.setattr("lightning_med.inference.answer_identity.compute_weights_digest", lambda network: "f" * 64)
    else:
        changes = {what: 4}
    with pytest.raises(InputError, match=f"another {what}") as raised:
        predict(folder, tmp_path, checkpoint, PredictionWriter(path), **changes)
    assert "--overwrite true" in raised.value.hint
    assert not path.exists()
    predict(folder, tmp_path, checkpoint, PredictionWriter(path, overwrite=True), **changes)
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.jsonl"]


def test_each_rank_has_equally_many_groups(folder: Path, groups: list[int]) -> None:
    """They wait for each other at the end; one without a group would not."""
    store = tiny.data_module(folder).store("test")
    rows = np.arange(len(store))
    shares = [[*LoaderFactory(None, 0, 0, rank, 4).make_question_loader(store, rows, "cpu")] for rank in range(4)]
    assert len({len(share) for share in shares}) == 1
    numbers = [row["number"] for share in shares for group in share for row in group]
    assert sorted(numbers) == rows.tolist()
