"""Prepared once, found again by what shaped it, whole or not at all."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import load_from_disk
from transformers import PreTrainedTokenizerFast

from lightning_med.data import preparation
from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation import Prepared, Recipe, prepare
from lightning_med.data.report import print_report, write_report
from lightning_med.data.splits import SPLITS, question_key
from lightning_med.data.tokens import ANSWER, PROMPT, QUESTION, store_tokenizer, train_tokenizer
from lightning_med.errors import InputError
from tests.conftest import consultation


def recipe(source: Path | str, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {"tokenizer": "train", "vocab_size": 400, "max_length": 128, "eval_max_length": 256}
    settings["system_prompt"] = "Be kind."
    return DialogueDataModule(str(source), **{**settings, **changes}).recipe


def everything(prepared: Prepared) -> dict[str, Any]:
    return {
        split: [
            (store.texts(row), store.input_ids(row).tolist(), store.parts(row).tolist(), int(store.answer_bytes[row]))
            for row in range(len(store))
        ]
        for split in SPLITS
        for store in [prepared.store(split)]
    }


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_second_time_it_is_found(cache: Path, consultations: Callable[..., Path]) -> None:
    first = prepare(recipe(consultations()))
    assert not first.cached
    assert first.folder == cache / first.fingerprint
    assert left_in(cache) == [first.fingerprint]
    again = prepare(recipe(consultations()))
    assert again.cached
    assert (again.folder, again.report) == (first.folder, first.report)
    assert store_tokenizer(again.tokenizer) == store_tokenizer(first.tokenizer)


def test_made_again_it_is_equal(tmp_path: Path, consultations: Callable[..., Path]) -> None:
    one, other = (prepare(recipe(consultations()), str(tmp_path / name)) for name in ("one", "other"))
    assert not other.cached
    assert one.fingerprint == other.fingerprint
    assert everything(one) == everything(other)
    assert one.report == other.report
    assert store_tokenizer(one.tokenizer) == store_tokenizer(other.tokenizer)


@pytest.mark.parametrize(
    "change",
    [
        {"system_prompt": "Be brief."},
        {"max_length": 120},
        {"eval_max_length": 300},
        {"test_fraction": 0.2},
        {"val_fraction": 0.2},
        {"seed": 1},
        {"vocab_size": 300},
    ],
)
def test_changed_setting_is_another_preparation(cache: Path, consultations: Callable[..., Path], change: dict) -> None:
    source = consultations()
    first, other = prepare(recipe(source)), prepare(recipe(source, **change))
    assert not other.cached
    assert first.fingerprint != other.fingerprint
    assert len(left_in(cache)) == 2


def test_changed_columns_are_another_preparation(cache: Path, consultations: Callable[..., Path]) -> None:
    source = consultations()
    there = prepare(recipe(source))
    back = prepare(recipe(source, question_column="output", answer_column="input"))
    assert not back.cached
    texts = there.store("train").texts(0)
    answers = {text["question"] for text in map(back.store("train").texts, range(len(back.store("train"))))}
    answers |= {
        back.store(split).texts(row)["question"] for split in SPLITS[1:] for row in range(len(back.store(split)))
    }
    assert texts["answer"] in answers


def test_changed_content_is_another_preparation(cache: Path, consultations: Callable[..., Path]) -> None:
    first = prepare(recipe(consultations()))
    path = consultations()
    path.write_bytes(path.read_bytes().replace(b"left ear", b"left arm"))
    other = prepare(recipe(path))
    assert not other.cached
    assert first.fingerprint != other.fingerprint


def test_changed_tokenizer_is_another_preparation(
    cache: Path, consultations: Callable[..., Path], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder, source = tmp_path / "tokenizer", consultations()
    tokenizer.save_pretrained(folder)
    first = prepare(recipe(source, tokenizer=str(folder)))
    assert store_tokenizer(first.tokenizer) == store_tokenizer(tokenizer)
    shutil.copytree(folder, tmp_path / "copy")
    assert prepare(recipe(source, tokenizer=str(tmp_path / "copy"))).cached  # its rules count, not where they lie
    train_tokenizer(["Another text. " * 5], 300).save_pretrained(folder)
    other = prepare(recipe(source, tokenizer=str(folder)))
    assert not other.cached
    assert first.fingerprint != other.fingerprint


def test_moved_file_is_found_again(cache: Path, consultations: Callable[..., Path]) -> None:
    first = prepare(recipe(consultations()))
    moved = prepare(recipe(consultations(name="elsewhere/consultations.csv")))
    assert moved.cached
    assert moved.fingerprint == first.fingerprint


def test_report_counts(cache: Path, tmp_path: Path) -> None:
    rows = [consultation(number) for number in range(60)]
    extra = [rows[0], ("", "Rest."), ("  ", "Rest."), (f" {rows[1][0]}", "Sleep."), (rows[2][0].upper(), "Drink tea.")]
    with (tmp_path / "notes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *rows, *extra])
    prepared = prepare(recipe(tmp_path / "notes.csv"))
    report = prepared.report
    assert (report["rows_in"], report["rows_out"]) == (65, 62)
    assert report["rules"]["missing"] == report["rules"]["blank"] == report["rules"]["duplicate"] == 1
    assert report["rules"]["whitespace"] == 2
    assert report["groups"] == 60
    assert report["files"] == ["notes.csv"]
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


def test_no_question_stands_on_two_sides_and_every_row_on_one(cache: Path, tmp_path: Path) -> None:
    rows = [(question, f"{answer} {again}") for again in range(3) for question, answer in map(consultation, range(50))]
    with (tmp_path / "notes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *rows])
    kept = everything(prepare(recipe(tmp_path / "notes.csv", test_fraction=0.3, val_fraction=0.2)))
    keys = {split: {question_key(texts["question"]) for texts, *_ in kept[split]} for split in SPLITS}
    assert not keys["train"] & keys["test"]
    assert not keys["train"] & keys["validation"]
    assert not keys["validation"] & keys["test"]
    assert sorted((texts["question"], texts["answer"]) for split in SPLITS for texts, *_ in kept[split]) == sorted(rows)


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
    with (tmp_path / "notes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *rows])
    prepared = prepare(recipe(tmp_path / "notes.csv", eval_max_length=2_000))
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

    monkeypatch.setattr(preparation, "train_tokenizer", spy)
    kept = everything(prepare(recipe(consultations())))
    assert sorted(seen) == sorted(texts[name] for texts, *_ in kept["train"] for name in ("question", "answer"))


def test_no_side_held_back(cache: Path, consultations: Callable[..., Path]) -> None:
    prepared = prepare(recipe(consultations(), test_fraction=0.0, val_fraction=0.0))
    assert prepared.report["splits"] == {"train": 60, "validation": 0, "test": 0}
    assert len(prepared.store("test")) == 0


def test_stored_set_is_one_of_the_datasets_library(cache: Path, consultations: Callable[..., Path]) -> None:
    prepared = prepare(recipe(consultations()))
    for split in SPLITS:
        table = load_from_disk(str(prepared.folder / split))
        assert len(table) == prepared.report["splits"][split]
        row = table[0]
        assert set(row) == {"input_ids", "parts", "answer_bytes", "question", "answer", "source", "row"}
        assert len(row["input_ids"]) == len(row["parts"])
        assert f"Patient: {row['question']}" in prepared.tokenizer.decode(row["input_ids"])


def test_report_is_written_and_holds_no_text_of_a_row(
    cache: Path, consultations: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = prepare(recipe(consultations()))
    write_report(prepared, tmp_path / "report")
    written = (tmp_path / "report" / "report.json").read_text(encoding="utf-8")
    assert json.loads(written) == {**prepared.report, "fingerprint": prepared.fingerprint}
    assert "hurts" not in written
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["report.json"]
    print_report(prepared)
    printed = " ".join(capsys.readouterr().out.split())
    assert "60 rows read" in printed
    assert "hurts" not in printed


# What goes wrong


@pytest.mark.parametrize(
    "change", [{"system_prompt": "Be very kind. " * 60}, {"answer_column": "reply"}, {"test_fraction": 0.0}]
)
def test_failed_preparation_leaves_nothing(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, change: dict
) -> None:
    if "test_fraction" in change:  # the last step of all fails, as on a full disk
        monkeypatch.setattr(
            preparation, "save_tokenizer", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
        )
    with pytest.raises((InputError, OSError)):
        prepare(recipe(consultations(), **change))
    assert left_in(cache) == []
    monkeypatch.undo()
    assert not prepare(recipe(consultations()), str(cache)).cached


def test_interrupted_preparation_leaves_nothing(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation.store, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(recipe(consultations()))
    assert left_in(cache) == []


def test_too_few_rows(cache: Path, consultations: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="2 different questions"):
        prepare(recipe(consultations(2)))
    assert prepare(recipe(consultations(3))).report["splits"] == {"train": 1, "validation": 1, "test": 1}


def test_cache_that_is_a_file(tmp_path: Path, consultations: Callable[..., Path]) -> None:
    (tmp_path / "taken").write_text("")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "cache"):
        with pytest.raises(InputError) as caught:
            prepare(recipe(consultations()), str(folder))
        assert str(folder) in caught.value.what
        assert "--data.cache_dir" in caught.value.mend


def test_file_that_may_not_be_read(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = consultations(), Path.open

    def guarded(self: Path, *arguments: Any, **options: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", guarded)
    with pytest.raises(InputError) as caught:
        prepare(recipe(path))
    assert str(path) in caught.value.what


def test_two_processes_make_one_copy(cache: Path, consultations: Callable[..., Path]) -> None:
    code = (
        "import json, sys; from lightning_med.data.module import DialogueDataModule;"
        "from lightning_med.data.preparation import prepare;"
        "data = DialogueDataModule(sys.argv[1], 'train', 400, max_length=128);"
        "sys.stdin.readline();"  # both have imported what they need before either begins
        "done = prepare(data.recipe);"
        "print(json.dumps([done.fingerprint, done.cached, len(done.store('train'))]))"
    )
    command = [sys.executable, "-c", code, str(consultations(600))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in both]
    assert told[0][0] == told[1][0]
    assert sorted(cached for _, cached, _ in told) == [False, True]
    assert told[0][2] == told[1][2] > 0
    assert left_in(cache) == [told[0][0]]
