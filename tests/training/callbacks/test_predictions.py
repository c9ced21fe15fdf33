"""The file of predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from lightning_med.training.callbacks.predictions import PredictionWriter
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


def test_interrupted_predictions_leave_no_file(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    class Stop(L.Callback):
        def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError("the machine goes down")

    path = tmp_path / "predictions.jsonl"
    with pytest.raises(RuntimeError, match="goes down"):
        predict(folder, tmp_path, checkpoint, PredictionWriter(path), Stop())
    assert list(tmp_path.iterdir()) == []
