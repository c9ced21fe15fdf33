"""Rows, splits and the report of prepared data."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation import token_pass
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.report.data_report import print_report, write_report
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.tokenization.consultation import ANSWER, PROMPT, QUESTION
from lightning_med.tokenization.tokenizer import train_tokenizer
from lightning_med.utils.errors import InputError
from tests.conftest import consultation
from tests.data.preparation.helpers import everything, left_in, recipe, write
from tests.tiny import WORDS


def test_report_counts(cache: Path, tmp_path: Path) -> None:
    rows = [consultation(number) for number in range(60)]
    rest = "Please rest for some days."
    extra = [rows[0], ("", rest), ("  ", rest), (f" {rows[1][0]}", rest), (rows[2][0].upper(), rest)]
    extra.append((rows[3][0], "OK."))
    prepared = prepare(recipe(write(tmp_path / "notes.csv", [*rows, *extra])))
    report = prepared.report
    assert (report["rows_in"], report["rows_out"]) == (66, 62)
    for rule in ("missing", "blank", "duplicate", "too_short"):
        assert report["rules"][rule] == 1
        assert report["effects"][rule] == "dropped"
    assert report["rules"]["whitespace"] == 2
    assert report["effects"]["whitespace"] == "mended"
    assert report["effects"]["cut_answer"] == "counted"
    assert report["bad_rows"] == 0
    assert report["groups"] == 60
    assert report["leaks_joined"] == 2
    assert report["files"] == ["notes.csv"]
    assert report["sources"] == [{"name": "notes.csv", "rows_in": 66, "rows_out": 62, "split": None, "weight": 1.0}]
    assert report["recipe"]["max_length"] == 128
    kept = everything(prepared)
    assert report["splits"] == {split: len(kept[split]) for split in SPLITS}
    assert sum(report["splits"].values()) == 62
    for split in SPLITS:
        parts = [part for _, _, row, _ in kept[split] for part in row]
        counted = report["tokens"][split]
        assert counted["total"] == len(parts)
        assert counted["question"] == parts.count(QUESTION)
        assert counted["answer"] == parts.count(ANSWER)
        assert parts.count(PROMPT) == len(parts) - counted["question"] - counted["answer"]


def test_bad_rows_are_counted_and_the_others_keep_their_numbers(cache: Path, tmp_path: Path) -> None:
    rows: list[tuple[str, ...]] = [consultation(number) for number in range(60)]
    rows[7], rows[30] = (*rows[7], "one more"), (f"{rows[30][0]}\x00", rows[30][1])
    source = write(tmp_path / "notes.csv", rows)
    with pytest.raises(InputError, match="row 7"):
        prepare(recipe(source))
    assert left_in(cache) == []
    prepared = prepare(recipe(source, on_bad_row="drop"))
    assert (prepared.report["rows_in"], prepared.report["rows_out"], prepared.report["bad_rows"]) == (60, 58, 2)
    assert [place.split(":")[0] for place in prepared.report["bad_row_places"]] == [
        "notes.csv, line 9 (row 7)",
        "notes.csv, line 32 (row 30)",
    ]
    kept = [texts for split in SPLITS for texts, *_ in everything(prepared)[split]]
    assert sorted(texts["row"] for texts in kept) == sorted({*range(60)} - {7, 30})
    assert all((texts["question"], texts["answer"]) == rows[texts["row"]] for texts in kept)


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": {"chat_doctor": False}},
        {"rules": {"whitespace": False, "html": False, "glued_sentences": False}},
        {"private_data": False},
    ],
)
def test_a_cleaning_setting_moves_no_row(cache: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    """Runs that differ in it are compared on the same test rows."""
    rows = [
        (f"Dear Mrs Smith,  I  have <b>pain</b> in place {number}.My mail is a{number}@example.org", answer)
        for number, (_, answer) in enumerate(map(consultation, range(80)))
    ]
    source = write(tmp_path / "notes.csv", rows)

    def sides(**settings: Any) -> dict[int, str]:
        prepared = prepare(DialogueDataModule(str(source), "train", 300, near_duplicates=False, **settings).recipe)
        return {texts["row"]: split for split in SPLITS for texts, *_ in everything(prepared)[split]}

    assert sides() == sides(**changes)


def test_a_file_named_twice_is_an_error(cache: Path, consultations: Callable[..., Path]) -> None:
    source = consultations()
    with pytest.raises(InputError, match="named twice"):
        prepare(DialogueDataModule([str(source), {"path": str(source), "weight": 2}], "train", 300).recipe)


def test_no_question_stands_on_two_sides_and_every_row_on_one(cache: Path, tmp_path: Path) -> None:
    rows = [(question, f"{answer} {again}") for again in range(3) for question, answer in map(consultation, range(50))]
    shouted = [(question.upper(), f"{answer} 9") for question, answer in map(consultation, range(50))]
    source = write(tmp_path / "notes.csv", rows + shouted)
    kept = everything(prepare(recipe(source, test_fraction=0.3, val_fraction=0.2)))
    keys = {split: {texts["question"].lower() for texts, *_ in kept[split]} for split in SPLITS}
    assert all(keys.values())
    assert not keys["train"] & keys["test"]
    assert not keys["train"] & keys["validation"]
    assert not keys["validation"] & keys["test"]
    prepared_rows = sorted((texts["question"], texts["answer"]) for split in SPLITS for texts, *_ in kept[split])
    assert prepared_rows == sorted(rows + shouted)


@pytest.mark.parametrize("near", [True, False])
def test_questions_that_nearly_agree_stand_on_one_side(cache: Path, tmp_path: Path, near: bool) -> None:
    stories = [" ".join(random.Random(number).choices(WORDS, k=30)) for number in range(40)]
    ends = ("please", "today", "now")
    rows = [(f"{story} {end}?", f"{consultation(n)[1]} {end}") for end in ends for n, story in enumerate(stories)]
    prepared = prepare(recipe(write(tmp_path / "a.csv", rows), near_duplicates=near, test_fraction=0.3))
    assert prepared.report["groups"] == (40 if near else 120)
    sides: dict[int, set[str]] = {}
    for split, split_rows in everything(prepared).items():
        for texts, *_ in split_rows:
            sides.setdefault(texts["row"] % 40, set()).add(split)
    assert (max(map(len, sides.values())) == 1) == near


def test_rows_of_one_patient_stand_on_one_side(cache: Path, tmp_path: Path) -> None:
    rows = [(*consultation(number), str(number % 20) if number % 4 else "") for number in range(120)]
    source = write(tmp_path / "notes.csv", rows, ("input", "output", "patient"))
    prepared = prepare(recipe(source, group_column="patient", test_fraction=0.3))
    patients: dict[str, set[str]] = {}
    for split, split_rows in everything(prepared).items():
        for texts, *_ in split_rows:
            patients.setdefault(rows[texts["row"]][2], set()).add(split)
    assert len(patients.pop("")) > 1  # an empty cell joins nothing
    assert len(patients) == 15
    assert all(len(sides) == 1 for sides in patients.values())
    assert prepared.report["groups"] == 15 + 30
    assert prepare(recipe(source)).report["groups"] == 120


def test_rows_can_be_traced_to_their_file(cache: Path, consultations: Callable[..., Path], tmp_path: Path) -> None:
    for name, first in (("tables/a.csv", 0), ("tables/b.csv", 100)):
        consultations(30, name, first)
    prepared = prepare(recipe(tmp_path / "tables"))
    assert prepared.report["files"] == ["a.csv", "b.csv"]
    for texts, *_ in everything(prepared)["train"]:
        number = texts["row"] + {"a.csv": 0, "b.csv": 100}[texts["source"]]
        assert (texts["question"], texts["answer"]) == consultation(number)


def test_validation_and_test_keep_longer_answers(cache: Path, tmp_path: Path) -> None:
    rows = [(question, answer * 12) for question, answer in map(consultation, range(60))]
    prepared = prepare(recipe(write(tmp_path / "notes.csv", rows), eval_max_length=2_000))
    assert prepared.store("train").lengths.max() == 128
    assert prepared.report["tokens"]["train"]["cut"] == prepared.report["splits"]["train"]
    assert prepared.report["tokens"]["test"]["cut"] == prepared.report["tokens"]["validation"]["cut"] == 0
    assert prepared.store("test").lengths.min() > 128


def test_trained_tokenizer_sees_the_training_split_alone(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def spy(texts: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
        seen.extend(texts)
        return train_tokenizer(texts, vocab_size)

    monkeypatch.setattr(token_pass, "train_tokenizer", spy)
    kept = everything(prepare(recipe(consultations())))
    assert sorted(seen) == sorted(texts[name] for texts, *_ in kept["train"] for name in ("question", "answer"))


def test_no_side_held_back(cache: Path, consultations: Callable[..., Path]) -> None:
    prepared = prepare(recipe(consultations(), test_fraction=0.0, val_fraction=0.0))
    assert prepared.report["splits"] == {"train": 60, "validation": 0, "test": 0}
    assert len(prepared.store("test")) == 0


def test_stored_set_is_one_of_the_datasets_library(cache: Path, consultations: Callable[..., Path]) -> None:
    prepared = prepare(recipe(consultations()))
    for split in SPLITS:
        table = Dataset.from_file(str(prepared.folder / f"{split}.arrow"))
        texts = pq.read_table(prepared.folder / f"{split}.parquet").to_pylist()
        assert len(table) == len(texts) == prepared.report["splits"][split]
        row = table[0]
        assert set(row) == {"input_ids", "runs", "answer_bytes", "source"}
        assert set(texts[0]) == {"source", "row", "turn", "group", "question", "answer", "learned"}
        assert len(row["input_ids"]) == sum(row["runs"])
        assert f"Patient: {texts[0]['question']}" in prepared.tokenizer.decode(row["input_ids"])


def test_report_is_written_and_holds_few_rows(
    cache: Path, consultations: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare(recipe(consultations()))
    write_report(prepared, tmp_path / "report")
    written = (tmp_path / "report" / "report.json").read_text(encoding="utf-8")
    assert json.loads(written) == {**prepared.report, "fingerprint": prepared.fingerprint}
    assert written.count("hurts since") == len(prepared.report["rows"]) == 10
    names = {"report.json", "report.html", "sample.csv", *(f"{split}.parquet" for split in SPLITS)}
    assert {path.name for path in (tmp_path / "report").iterdir()} == names
    print_report(prepared)
    printed = " ".join(capsys.readouterr().out.split())
    assert "60 rows read" in printed
    assert "hurts" not in printed
