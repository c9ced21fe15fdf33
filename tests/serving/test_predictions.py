"""The guarded answers of `DialogueLM.predict_step`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from tests import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Consultations whose questions get advice that names emergency numbers."""
    folder = tmp_path_factory.mktemp("urgent")
    with (folder / "consultations.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["input", "output"])
        for days in range(40):
            question = f"I coughed up a streak of blood this morning, after {days} days of a cold"
            writer.writerow([question, f"Please see a doctor within {days} days, and rest well until then."])
    return folder


def predict(folder: Path, results: Path) -> list[dict[str, Any]]:
    """The predictions of a network with random weights; these depend on the seed alone."""
    batches = tiny.trainer(results).predict(tiny.language_model(max_new_tokens=3), tiny.data_module(folder))
    return [row for batch in batches or [] for row in batch]


def test_a_prediction_is_triaged_once(folder: Path, tmp_path: Path, triaged: list[str]) -> None:
    rows = predict(folder, tmp_path)
    assert rows
    assert triaged == [row["question"] for row in rows]
