"""Clean rows are made once, and tokens from them are those of a single pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation import pipeline
from lightning_med.data.preparation.pipeline import CLEAN_ROWS, Prepared, prepare
from lightning_med.data.sources import table_files
from lightning_med.utils.errors import InputError
from tests.data.preparation.helpers import left_in, recipe, rows_left_in, tables_of


def assert_equal(one: Prepared, other: Prepared) -> None:
    assert tables_of(one.folder) == tables_of(other.folder)
    assert (one.folder / "report.json").read_bytes() == (other.folder / "report.json").read_bytes()
    assert one.report == other.report
    assert one.fingerprint == other.fingerprint


SPLITTING_AND_ENCODING: list[dict[str, Any]] = [
    {"max_length": 120},
    {"eval_max_length": 300},
    {"system_prompt": "Be brief."},
    {"vocab_size": 300},
    {"test_fraction": 0.2},
    {"val_fraction": 0.2},
    {"seed": 1},
]


@pytest.mark.parametrize("change", SPLITTING_AND_ENCODING)
def test_clean_rows_are_made_once(
    cache: Path, consultations: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict
) -> None:
    """What they become does not depend on whether they were found."""
    source = consultations()
    first = prepare(recipe(source))
    rows = cache / CLEAN_ROWS / rows_left_in(cache)[0]
    contents = {path.name: path.read_bytes() for path in rows.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "clean_rows", lambda *_: pytest.fail("cleaned again"))
        other = prepare(recipe(source, **change))
    assert not other.cached
    assert first.fingerprint != other.fingerprint
    assert rows_left_in(cache) == [rows.name]
    assert contents == {path.name: path.read_bytes() for path in rows.iterdir()}
    assert_equal(other, prepare(recipe(source, **change), str(tmp_path / "cold")))


@pytest.mark.parametrize(
    "change",
    [
        {"rules": {"too_short": False}},
        {"rules": {"duplicate": False}},
        {"private_data": False},
        {"near_duplicates": False},
        {"on_bad_row": "drop"},
        {"question_column": "output", "answer_column": "input"},
    ],
)
def test_a_cleaning_setting_makes_other_clean_rows(
    cache: Path, consultations: Callable[..., Path], change: dict
) -> None:
    prepare(recipe(consultations()))
    prepare(recipe(consultations(), **change))
    assert len(rows_left_in(cache)) == len(left_in(cache)) == 2


def test_another_tokenizer_encodes_the_same_clean_rows(
    cache: Path, consultations: Callable[..., Path], tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    source = consultations()
    prepare(recipe(source))
    other = prepare(recipe(source, tokenizer=str(tmp_path / "tokenizer")))
    assert len(rows_left_in(cache)) == 1
    assert_equal(other, prepare(recipe(source, tokenizer=str(tmp_path / "tokenizer")), str(tmp_path / "cold")))


def test_conversations_and_several_sources_of_clean_rows_that_were_found(
    cache: Path, chats_and_tables: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "CHUNK", 15)
    settings: dict[str, Any] = {"rules": {"cut_answer": True}, "on_bad_row": "drop", "vocab_size": 400}
    longer, shorter = (
        DialogueDataModule(chats_and_tables, "train", max_length=length, seed=length, **settings).recipe
        for length in (256, 120)
    )
    prepare(longer)
    other = prepare(shorter)
    assert len(rows_left_in(cache)) == 1
    assert other.report["bad_rows"] == 10
    assert_equal(other, prepare(shorter, str(tmp_path / "cold")))


def test_tokens_are_found_without_their_clean_rows(cache: Path, consultations: Callable[..., Path]) -> None:
    source = consultations()
    first = prepare(recipe(source))
    shutil.rmtree(cache / CLEAN_ROWS)
    again = prepare(recipe(source))
    assert again.cached
    assert again.report == first.report


@pytest.mark.parametrize("name", ["texts.arrow", "report.json", "turns.npy", "kept.npy", "split_keys.npy"])
@pytest.mark.parametrize("damage", ["empty", "cut", "gone", "other"])
def test_damaged_clean_rows_name_the_folder_to_delete(
    cache: Path, consultations: Callable[..., Path], name: str, damage: str
) -> None:
    prepare(recipe(consultations()))
    folder = cache / CLEAN_ROWS / rows_left_in(cache)[0]
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage != "gone":
        damaged = {"empty": b"", "cut": content[: len(content) // 2], "other": b"\xff" * len(content)}[damage]
        (folder / name).write_bytes(damaged)
    with pytest.raises(InputError) as caught:
        prepare(recipe(consultations(), max_length=120))
    assert str(folder) in caught.value.what
    assert len(left_in(cache)) == 1
    assert prepare(recipe(consultations())).cached  # what was made of them is complete
    shutil.rmtree(folder)  # as it says
    assert not prepare(recipe(consultations(), max_length=120)).cached
