"""Prepared once, found again by what shaped it, whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from filelock import FileLock
from transformers import PreTrainedTokenizerFast

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation import pipeline
from lightning_med.data.preparation import token_store as store
from lightning_med.data.preparation.pipeline import Prepared, prepare
from lightning_med.data.preparation.recipe import Recipe, digest_content
from lightning_med.data.preparation.text_spool import Spool
from lightning_med.data.preparation.worker_pool import WorkerPool
from lightning_med.data.report.data_report import print_report, write_report
from lightning_med.data.sources import table_files
from lightning_med.data.sources.source import Source
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.tokenization.encoder import ANSWER, PROMPT, QUESTION
from lightning_med.tokenization.tokenizer import store_tokenizer, train_tokenizer
from lightning_med.utils.errors import InputError
from tests.conftest import consultation
from tests.tiny import WORDS


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


def write(path: Path, rows: list[tuple[str, ...]], names: tuple[str, ...] = ("input", "output")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def tables_of(folder: Path) -> dict[str, bytes]:
    """The files that training reads, byte for byte."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".arrow", ".parquet", ".txt")}


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


def test_a_source_that_changes_while_it_is_read_is_an_error(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = consultations()
    build = pipeline._build

    def meddled(*args: Any) -> None:
        build(*args)
        source.write_bytes(source.read_bytes().replace(b"a", b"o"))

    monkeypatch.setattr(pipeline, "_build", meddled)
    with pytest.raises(InputError, match="changed while it was read"):
        prepare(recipe(source))
    assert left_in(cache) == []


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
        {"rules": {"too_short": False}},
        {"rules": {"duplicate": False}},
        {"private_data": False},
        {"near_duplicates": False},
        {"on_bad_row": "drop"},
    ],
)
def test_changed_setting_is_another_preparation(cache: Path, consultations: Callable[..., Path], change: dict) -> None:
    source = consultations()
    first, other = prepare(recipe(source)), prepare(recipe(source, **change))
    assert not other.cached
    assert first.fingerprint != other.fingerprint
    assert len(left_in(cache)) == 2


def test_changed_weight_is_the_same_preparation(cache: Path, consultations: Callable[..., Path]) -> None:
    source = str(consultations())
    first = prepare(DialogueDataModule([source], "train", 300, max_length=128).recipe)
    for entry in ({"path": source, "weight": 2}, {"path": source, "weight": 0.5}):
        other = prepare(DialogueDataModule([entry], "train", 300, max_length=128).recipe)
        assert other.cached
        assert other.fingerprint == first.fingerprint
        assert [source["weight"] for source in other.report["sources"]] == [entry["weight"]]


def test_order_of_sources_is_another_preparation(cache: Path, consultations: Callable[..., Path]) -> None:
    files = [str(consultations(name="a.csv")), str(consultations(name="b.csv", first=100))]
    first, other = (prepare(DialogueDataModule(each, "train", 300).recipe) for each in (files, files[::-1]))
    assert first.fingerprint != other.fingerprint


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


def test_fingerprint_is_of_every_setting_and_of_no_place() -> None:
    """A setting that is added one day is in it, or this test says so."""
    sources = (Source("a.csv", "input", "output"),)
    others: dict[str, Any] = {
        "vocab_size": 300,
        "system_prompt": "Be kind. ",
        "max_length": 127,
        "eval_max_length": 257,
        "test_fraction": 0.11,
        "val_fraction": 0.06,
        "rules": {**recipe("a.csv").rules, "cut_answer": True},
        "private_data": False,
        "near_duplicates": False,
        "on_bad_row": "drop",
        "seed": 43,
    }
    first = replace(recipe("a.csv"), sources=sources)
    assert {field.name for field in fields(Recipe)} == {"sources", "tokenizer", *others}
    prints = [first.fingerprint(b"content", None)]
    assert prints[0] == replace(first).fingerprint(b"content", None)
    prints += [replace(first, **{name: other}).fingerprint(b"content", None) for name, other in others.items()]
    for change in (
        {"question_column": "asked"},
        {"answer_column": "replied"},
        {"messages_column": "input"},
        {"group_column": "patient"},
    ):
        prints.append(replace(first, sources=(replace(sources[0], **change),)).fingerprint(b"content", None))
    prints += [first.fingerprint(b"other", None), first.fingerprint(b"content", "rules of a tokenizer")]
    prints.append(first.fingerprint(b"content", "Rules of a tokenizer"))
    assert len(set(prints)) == len(prints)
    for change in ({"path": "/elsewhere/b.csv"}, {"weight": 3.0}):
        assert replace(first, sources=(replace(sources[0], **change),)).fingerprint(b"content", None) == prints[0]
    assert replace(first, tokenizer="/elsewhere").fingerprint(b"content", None) == prints[0]  # its rules count


def test_digest_is_of_every_byte_of_every_file_in_its_place(tmp_path: Path) -> None:
    def digest(
        *contents: bytes, names: str = "abc", under: str = "data", numbers: tuple[int, ...] = (0, 0, 0)
    ) -> bytes:
        files = [tmp_path / under / f"{name}.csv" for name in names[: len(contents)]]
        for file, content in zip(files, contents, strict=True):
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        return digest_content(list(zip(numbers, files, strict=False)))

    content = bytes(range(256)) * 5_000  # more than is read at once
    whole = digest(content, b"b")
    assert whole == digest(content, b"b", under="moved")
    others = [digest(content[:at] + b"!" + content[at + 1 :], b"b") for at in (0, 1 << 20, len(content) - 1)]
    others += [digest(content + b"b", b""), digest(content[:-1], b"b"), digest(b"b", content), digest(content)]
    others += [digest(content, b"b", names="xbc"), digest(content, b"b", numbers=(0, 1))]
    assert len({whole, *others}) == 1 + len(others)


def test_renamed_column_and_regrouped_rows_are_another_preparation(cache: Path, tmp_path: Path) -> None:
    rows = [(*consultation(number), str(number % 9)) for number in range(60)]
    one = write(tmp_path / "notes.csv", rows, ("input", "output", "patient"))
    made = [prepare(recipe(one)), prepare(recipe(one, group_column="patient"))]
    made.append(
        prepare(recipe(write(tmp_path / "notes.csv", rows, ("asked", "output", "patient")), question_column="asked"))
    )
    assert not any(prepared.cached for prepared in made)
    assert len({prepared.fingerprint for prepared in made}) == 3


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
    assert report["sources"] == [{"name": "notes.csv", "rows_in": 66, "rows_out": 62, "weight": 1.0}]
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
    told = sorted((texts["question"], texts["answer"]) for split in SPLITS for texts, *_ in kept[split])
    assert told == sorted(rows + shouted)


@pytest.mark.parametrize("near", [True, False])
def test_questions_that_nearly_agree_stand_on_one_side(cache: Path, tmp_path: Path, near: bool) -> None:
    stories = [" ".join(random.Random(number).choices(WORDS, k=30)) for number in range(40)]
    ends = ("please", "today", "now")
    rows = [(f"{story} {end}?", f"{consultation(n)[1]} {end}") for end in ends for n, story in enumerate(stories)]
    prepared = prepare(recipe(write(tmp_path / "a.csv", rows), near_duplicates=near, test_fraction=0.3))
    assert prepared.report["groups"] == (40 if near else 120)
    sides: dict[int, set[str]] = {}
    for split, found in everything(prepared).items():
        for texts, *_ in found:
            sides.setdefault(texts["row"] % 40, set()).add(split)
    assert (max(map(len, sides.values())) == 1) == near


def test_rows_of_one_patient_stand_on_one_side(cache: Path, tmp_path: Path) -> None:
    rows = [(*consultation(number), str(number % 20) if number % 4 else "") for number in range(120)]
    source = write(tmp_path / "notes.csv", rows, ("input", "output", "patient"))
    prepared = prepare(recipe(source, group_column="patient", test_fraction=0.3))
    patients: dict[str, set[str]] = {}
    for split, found in everything(prepared).items():
        for texts, *_ in found:
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

    monkeypatch.setattr(pipeline, "train_tokenizer", spy)
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
        assert set(texts[0]) == {"source", "row", "turn", "group", "question", "answer"}
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


# Private data

PRIVATE = ("jane.roe", "example.org", "415-555", "555-267", "4155552671", "4111 1111", "41111111", "Roe")


@pytest.fixture
def private_rows(tmp_path: Path) -> Path:
    """Consultations with a patient's e-mail address, phone, card and name in every place that a report may quote."""
    rows = [consultation(number) for number in range(60)]
    rows += [
        (f"{question} Write  to jane.roe@example.org or call 415-555-2671.", f"{answer} Thank you, Jane Roe.")
        for question, answer in map(consultation, range(60, 70))
    ]
    rows += [
        (f"My name is Jane Roe. {question}", f"Call (415) 555-2671 now, or pay with 4111 1111 1111 1111. {answer}")
        for question, answer in map(consultation, range(70, 80))
    ]
    rows += [(question, f"Mail jane.roe@example.org: {told}") for question, told in map(consultation, range(80, 90))]
    rows += [
        (consultation(90)[0], "Mail jane.roe@example.org"),  # too short
        (consultation(91)[0], "Rest, sleep well, and write to jane.roe@example.org or"),  # cut
        (consultation(92)[0], "Rest &amp; sleep.<br>Write to <b>jane.roe@example.org</b> &amp; call 415-555-2671."),
        (consultation(93)[0], "Rest for some days, and write to jane.roe&#64;example.org if it hurts."),
        (consultation(94)[0], "Rest for some days,\u200b and write to jane.roe&#64;example.org if it hurts."),
        (consultation(95)[0], "Rest for some days, and call 415\u200b-555-2671 if it hurts."),
    ]
    return write(tmp_path / "private.csv", rows)


def words_under(folder: Path, tokenizer: PreTrainedTokenizerFast | None = None) -> str:
    """All that the files of a folder say, whatever form they have."""
    said = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        said.append(path.read_bytes().decode("utf-8", "replace"))
        if path.suffix == ".parquet":
            said.append(str(pq.read_table(path).to_pydict()))
        if path.suffix == ".arrow" and tokenizer is not None:
            table = Dataset.from_file(str(path))
            said += [tokenizer.decode(row["input_ids"]) for row in table]
    return "\n".join(said)


def test_private_data_reaches_no_file(
    cache: Path, private_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_way: list[str] = []
    finish = Spool.finish

    def spy(self: Spool) -> None:
        finish(self)
        on_the_way.append(words_under(cache))

    monkeypatch.setattr(Spool, "finish", spy)
    prepared = prepare(recipe(private_rows, rules={"cut_answer": True}))
    assert "hurts since" in on_the_way[0]
    write_report(prepared, tmp_path / "report")
    said = words_under(cache, prepared.tokenizer) + words_under(tmp_path / "report")
    for secret in PRIVATE:
        assert secret not in said
        assert not any(secret in seen for seen in on_the_way)
    assert prepared.report["private"]["EMAIL"] >= 23
    assert prepared.report["private"]["PHONE"] >= 21
    assert prepared.report["private"]["CARD"] == 10
    assert "[EMAIL]" in said


def test_private_data_that_is_kept_is_in_no_report(cache: Path, private_rows: Path, tmp_path: Path) -> None:
    rules = {"cut_answer": True, "html": True}
    prepared = prepare(recipe(private_rows, private_data=False, rules=rules))
    assert prepared.report["private"] == {}
    write_report(prepared, tmp_path / "report")
    assert "jane.roe@example.org" in words_under(prepared.folder)
    for path in (prepared.folder / "report.json", *(tmp_path / "report" / f"report.{end}" for end in ("json", "html"))):
        said = path.read_text(encoding="utf-8")
        assert not [secret for secret in PRIVATE if secret in said]
    assert any(opening["count"] >= 10 for opening in prepared.report["openings"])


def test_private_data_of_any_column_and_turn_reaches_no_file(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conversations, their later turns, identity numbers, patients' own numbers; with processes side by side."""
    monkeypatch.setattr(pipeline, "_SMALL", 0)
    monkeypatch.setattr(pipeline, "count_cores", lambda: 2)
    monkeypatch.setattr(table_files, "CHUNK", 25)
    secrets = ("zelda.okonkwo", "078-05-1121", "312-867-5309", "Okonkwo", "Zelda", "MRN-7788", "raw-key-55")
    with (tmp_path / "chats.jsonl").open("w", encoding="utf-8") as file:
        for number in range(100):
            (asked, replied), (again, at_last) = consultation(number), consultation(200 + number)
            texts = [asked, f"Hello Zelda Okonkwo, {replied}"]
            texts += [f"{again} My SSN is 078-05-1121.", f"{at_last} Call me at 312-867-5309."]
            texts += [f"Mail zelda.okonkwo@example.org, please. {asked}", f"{replied} Regards, Dr. Zelda Okonkwo."]
            messages: Any = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
            messages = messages if number % 20 else [{"role": "Zelda Okonkwo", "content": texts[0]}]
            file.write(json.dumps({"chat": messages, "patient": f"MRN-7788{number % 40}", "raw-key-55": 1}) + "\n")
    source = {"path": str(tmp_path / "chats.jsonl"), "messages_column": "chat", "group_column": "patient"}
    settings: dict[str, Any] = {"max_length": 512, "on_bad_row": "drop"}
    prepared = prepare(DialogueDataModule([source], "train", 400, **settings).recipe)
    assert prepared.report["bad_rows"] == 5
    assert prepared.report["rows_out"] == 95
    write_report(prepared, tmp_path / "report")
    said = words_under(cache, prepared.tokenizer) + words_under(tmp_path / "report")
    assert "hurts since" in said
    assert [secret for secret in secrets if secret.lower() in said.lower()] == []
    for kind in ("EMAIL", "PHONE", "NATIONAL_ID"):
        assert prepared.report["private"][kind] == 95
        assert f"[{kind}]" in said


def test_private_data_that_is_kept_is_in_no_sample(cache: Path, private_rows: Path, tmp_path: Path) -> None:
    """The file that people pass around is masked whatever the setting; the tables for audit are what is learned."""
    prepared = prepare(recipe(private_rows, private_data=False, rules={"cut_answer": True, "html": True}))
    write_report(prepared, tmp_path / "report")
    sample = (tmp_path / "report" / "sample.csv").read_text(encoding="utf-8")
    assert not [secret for secret in PRIVATE if secret in sample]
    assert sample.count("[EMAIL]") >= 20
    assert "jane.roe@example.org" in str(pq.read_table(tmp_path / "report" / "train.parquet").to_pydict())


# What goes wrong


@pytest.mark.parametrize(
    "change", [{"system_prompt": "Be very kind. " * 60}, {"answer_column": "reply"}, {"test_fraction": 0.0}]
)
def test_failed_preparation_leaves_nothing(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, change: dict
) -> None:
    if "test_fraction" in change:  # the last step of all fails, as on a full disk
        monkeypatch.setattr(pipeline, "store_tokenizer", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
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

    monkeypatch.setattr(store.TokenWriter, "add", interrupt)
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
        assert "--data.cache_dir" in caught.value.hint


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


@pytest.mark.parametrize("damage", ["cut", "gone", "no UTF-8"])
def test_damaged_report_names_the_folder_to_delete(
    cache: Path, consultations: Callable[..., Path], damage: str
) -> None:
    folder = prepare(recipe(consultations())).folder
    path = folder / "report.json"
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"\xff" + content)
    with pytest.raises(InputError) as caught:
        prepare(recipe(consultations()))
    assert str(folder) in caught.value.what
    shutil.rmtree(folder)  # as it says
    assert not prepare(recipe(consultations())).cached


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_damaged_tokens_name_the_folder_to_delete(cache: Path, consultations: Callable[..., Path], kept: float) -> None:
    prepared = prepare(recipe(consultations()))
    tokens = prepared.folder / "train.arrow"
    tokens.write_bytes(tokens.read_bytes()[: int(kept * tokens.stat().st_size)])
    with pytest.raises(InputError, match=prepared.fingerprint):
        prepared.store("train")


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_tokenizer_names_the_folder_to_delete(
    cache: Path, consultations: Callable[..., Path], damage: str
) -> None:
    folder = prepare(recipe(consultations())).folder
    content = (folder / "tokenizer.txt").read_bytes()
    (folder / "tokenizer.txt").unlink()
    if damage == "cut":
        (folder / "tokenizer.txt").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError) as caught:
        prepare(recipe(consultations()))
    assert str(folder) in caught.value.what


CODE = """
import sys
from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation import pipeline as preparation, token_store
from lightning_med.data.report.data_report import print_report
from lightning_med.data.sources import table_files as tables
settings = {"max_length": 128, "eval_max_length": 256, "system_prompt": "Be kind."}
recipe = DialogueDataModule(sys.argv[1], "train", 400, **settings).recipe
"""


def run(code: str, source: Path) -> subprocess.Popen[str]:
    """A process of its own that knows `recipe`; see `CODE`."""
    command = [sys.executable, "-c", CODE + code, str(source)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_processes_make_one_copy(cache: Path, consultations: Callable[..., Path]) -> None:
    code = "sys.stdin.readline()\nprint_report(preparation.prepare(recipe))"  # both are ready before either begins
    source = consultations(600)
    both = [run(code, source) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = sorted(process.communicate(timeout=120)[0].splitlines()[-1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    (folder,) = left_in(cache)
    assert told == [f"found in the cache: {cache / folder}", f"prepared: {cache / folder}"]


def test_killed_preparation_is_made_whole_by_the_next(
    cache: Path, consultations: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process outlives it, what it left is not believed, and the next one ends where it would have ended."""
    if not hasattr(os, "pidfd_open"):
        pytest.skip("this system cannot wait for processes that are no children")
    code = (
        "import multiprocessing, signal\n"
        "tables.CHUNK, preparation._SMALL, preparation.count_cores = 20, 0, lambda: 2\n"
        "add, calls = token_store.TokenWriter.add, []\n"
        "def stop(self, *given):\n"
        "    add(self, *given)\n"
        "    calls.append(None)\n"
        "    if len(calls) == 7:\n"
        "        print(*[child.pid for child in multiprocessing.active_children()], flush=True)\n"
        "        signal.pause()\n"
        "token_store.TokenWriter.add = stop\n"
        "preparation.prepare(recipe)\n"
    )
    source = consultations(200)
    with run(code, source) as process:
        assert process.stdout is not None
        workers = [os.pidfd_open(int(pid)) for pid in process.stdout.readline().split()]
        process.kill()
    assert len(workers) == 2
    while workers:
        (ended, *_), _, _ = select.select(workers, [], [], 60)
        workers.remove(ended)
        os.close(ended)
    assert [name.startswith(".") for name in left_in(cache)] == [True]
    monkeypatch.setattr(table_files, "CHUNK", 20)
    whole = prepare(recipe(source))
    assert not whole.cached
    assert left_in(cache) == [whole.fingerprint]
    assert tables_of(whole.folder) == tables_of(prepare(recipe(source), str(tmp_path / "undisturbed")).folder)


@pytest.mark.parametrize("near", [True, False])
def test_number_of_processes_changes_no_byte(
    consultations: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, near: bool
) -> None:
    monkeypatch.setattr(table_files, "CHUNK", 20)
    source, made = consultations(200), []
    for processes in (1, 2):
        monkeypatch.setattr(pipeline, "_SMALL", 0)
        monkeypatch.setattr(pipeline, "count_cores", lambda processes=processes: processes)
        made.append(prepare(recipe(source, near_duplicates=near), str(tmp_path / str(processes))))
    one, two = made
    assert tables_of(one.folder).keys() >= {"train.arrow", "train.parquet", "test.arrow", "tokenizer.txt"}
    assert tables_of(one.folder) == tables_of(two.folder)
    assert one.report == two.report
    assert one.fingerprint == two.fingerprint


def test_number_of_processes_changes_no_byte_of_conversations_and_several_sources(
    consultations: Callable[..., Path], private_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process counts, and what it replaces, comes back in the order of the rows too."""
    monkeypatch.setattr(table_files, "CHUNK", 15)
    monkeypatch.setattr(pipeline, "_SMALL", 0)
    with (tmp_path / "chats.jsonl").open("w", encoding="utf-8") as file:
        for number in range(0, 300, 3):
            told = map(consultation, range(300 + number, 301 + number + number % 4))
            messages = [
                {"role": role, "content": text}
                for pair in told
                for role, text in zip(("user", "assistant"), pair, strict=True)
            ]
            row = {"chat": messages if number % 10 else "damaged", "patient": f"{number % 30}"}
            file.write(json.dumps(row) + "\n")
    chats = {"path": str(tmp_path / "chats.jsonl"), "messages_column": "chat", "group_column": "patient", "weight": 2}
    entries = [str(private_rows), chats, str(consultations(40, first=700))]
    settings: dict[str, Any] = {"rules": {"cut_answer": True}, "on_bad_row": "drop", "max_length": 256}
    module = DialogueDataModule(entries, "train", 400, **settings)
    made = []
    for processes in (1, 2):
        monkeypatch.setattr(pipeline, "count_cores", lambda processes=processes: processes)
        made.append(prepare(module.recipe, str(tmp_path / str(processes))))
    one, two = made
    assert tables_of(one.folder) == tables_of(two.folder)
    assert one.report == two.report
    assert one.report["bad_rows"] == 10
    assert {texts["source"] for texts, *_ in everything(one)["train"]} == set(one.report["files"])


PATIENCE = 60.0  # seconds for what takes one or two


@pytest.fixture
def begin() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process as the leader of a session; at the end none of them is left, whatever went wrong."""
    started: list[subprocess.Popen[str]] = []

    def start(*command: object, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen([*map(str, command)], text=True, start_new_session=True, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        for left in of_session(process.pid):
            left.kill()
        process.communicate()


def until(condition: Callable[[], Any], process: subprocess.Popen[Any]) -> Any:
    """Waits for a condition while a process runs; returns what it gave."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        assert process.poll() is None, "it ended too soon"
        time.sleep(0.005)
    raise AssertionError("it did not come to that")


def of_session(leader: int) -> list[psutil.Process]:
    """All processes of a session that still run, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def assert_all_end(leader: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := of_session(leader):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


STAGES = {
    "begun": "",  # wherever it is when its folder appears
    "read": "stop(preparation, 'group_rows')",
    "written": "stop(preparation, 'sync_files')",  # all files are there, under their temporary name
    "renamed": "stop(preparation, 'restore_tokenizer')",
}


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_stage_leaves_nothing_that_is_believed(
    cache: Path, consultations: Callable[..., Path], tmp_path: Path, begin: Callable[..., Any], stage: str
) -> None:
    """All its processes at once, as where memory runs out or a machine is switched off."""
    code = (
        "import signal\n"
        "preparation._SMALL, preparation.count_cores = 0, lambda: 2\n"
        "def stop(module, name):\n"
        "    setattr(module, name, lambda *_: (print('there', flush=True), signal.pause()))\n"
        f"{STAGES[stage]}\n"
        "preparation.prepare(recipe)\n"
    )
    source = consultations(600)
    process = begin(sys.executable, "-c", CODE + code, source, stdout=subprocess.PIPE)
    if STAGES[stage]:
        assert process.stdout.readline() == "there\n"
    (name,) = until(lambda: cache.is_dir() and left_in(cache), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    assert_all_end(process.pid)
    assert name.startswith(".") == (stage != "renamed")
    assert left_in(cache) == [name]
    again = prepare(recipe(source))
    assert again.cached == (stage == "renamed")
    assert left_in(cache) == [again.fingerprint]
    assert tables_of(again.folder) == tables_of(prepare(recipe(source), str(tmp_path / "undisturbed")).folder)
    assert prepare(recipe(source)).cached


COMMAND = """
import sys
from lightning_med.cli import main
from lightning_med.data.preparation import pipeline as preparation
from lightning_med.data.sources import table_files as tables
preparation._SMALL, preparation.count_cores, tables.CHUNK = 0, lambda: 2, 200
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("name", "whole_group", "at_work"),
    [
        ("SIGTERM", False, False),
        ("SIGTERM", False, True),
        ("SIGTERM", True, True),  # as a batch system sends it
        ("SIGINT", True, True),  # as a terminal sends it
    ],
)
def test_signal_ends_the_command_and_takes_all_with_it(
    cache: Path,
    consultations: Callable[..., Path],
    tmp_path: Path,
    begin: Callable[..., Any],
    name: str,
    whole_group: bool,
    at_work: bool,
) -> None:
    argv = (
        "prepare",
        "--data.source",
        consultations(20_000),
        "--data.tokenizer",
        "train",
        "--output",
        tmp_path / "out",
    )
    with (tmp_path / "said").open("w") as said:
        process = begin(sys.executable, "-c", COMMAND, *argv, stdout=said, stderr=said, cwd=tmp_path)
    until(lambda: list(cache.glob(".*-*")), process)
    if at_work:  # both its processes live, and have brought something
        until(lambda: len(of_session(process.pid)) > 2, process)
        until(lambda: any(path.stat().st_size > 20_000 for path in cache.glob(".*/spool/texts.arrow")), process)
    (os.killpg if whole_group else os.kill)(process.pid, signal.Signals[name])
    status, text = process.wait(PATIENCE), (tmp_path / "said").read_text()
    assert status == 128 + signal.Signals[name], text
    if name == "SIGTERM":  # what SIGINT makes of the pool's processes has a test of its own
        assert "Traceback" not in text
    assert left_in(cache) == []
    assert_all_end(process.pid)
    assert not (tmp_path / "out").exists()


def test_interrupt_from_the_terminal_is_for_the_command_to_answer() -> None:
    """A terminal sends SIGINT to all processes at once; those of the pool end with the command, and say nothing."""
    with WorkerPool(2) as pool:
        assert list(pool.ordered(abs, range(-4, 0))) == [4, 3, 2, 1]
        workers = [psutil.Process(pid) for pid in pool._executor._processes]
        assert len(workers) == 2
        for worker in workers:
            worker.send_signal(signal.SIGINT)
        psutil.wait_procs(workers, timeout=1)
        assert list(pool.ordered(abs, range(-4, 0))) == [4, 3, 2, 1]


def test_mistake_is_told_from_another_process_too(
    cache: Path, consultations: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_SMALL", 0)
    monkeypatch.setattr(pipeline, "count_cores", lambda: 2)
    with pytest.raises(InputError, match="leaves no room"):
        prepare(recipe(consultations(), system_prompt="Be very kind. " * 60))
    assert left_in(cache) == []


def test_what_killed_preparations_left_is_swept(cache: Path, consultations: Callable[..., Path]) -> None:
    for name in (".killed-x1", ".running-x2", ".mine", "unknown"):
        (cache / name).mkdir(parents=True)
        (cache / name / "train.arrow").write_bytes(b"half")
    (cache / "killed.lock").touch()
    with FileLock(cache / "running.lock"):
        prepared = prepare(recipe(consultations()))
    assert left_in(cache) == [".mine", ".running-x2", prepared.fingerprint, "unknown"]
