"""The guarded answers of `DialogueLM.predict_step`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from lightning_med.safety.messages.advice import REGION_VARIABLE
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


def test_predictions_do_not_depend_on_the_machines_locale(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", REGION_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    rows = []
    for language in ("en_GB.UTF-8", "en_US.UTF-8"):
        monkeypatch.setenv("LANG", language)
        rows.append(predict(folder, tmp_path))
    assert rows[0] == rows[1]
    numbers = ("112", "999", "911", "000")
    assert all(number in row["answer"] for row in rows[0] for number in numbers)


def test_predictions_name_the_region_that_is_set(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REGION_VARIABLE, "GB")
    answers = [row["answer"] for row in predict(folder, tmp_path)]
    assert all("999" in answer and "911" not in answer for answer in answers)
