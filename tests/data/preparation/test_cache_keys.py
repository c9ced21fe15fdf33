"""Prepared data is found by what shaped it, and by nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from lightning_med.data.leaks.checked_tables import CheckedTable
from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.cache import keys
from lightning_med.data.preparation.cache.key_parts import KeyParts
from lightning_med.data.preparation.cache.keys import describe_rows, describe_tokens
from lightning_med.data.preparation.cache.source_digests import SourceDigests
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.preparation.recipe import Recipe
from lightning_med.data.sources.source import Source
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import store_tokenizer, train_tokenizer
from lightning_med.utils.errors import InputError
from tests.conftest import consultation
from tests.data.preparation.helpers import left_in, recipe, write


@pytest.mark.parametrize(
    "change",
    [
        {"system_prompt": "Be brief."},
        {"add_tokens": ["[PHONE]"]},
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


@pytest.mark.parametrize("named", ["train", "folder"])
def test_a_runs_own_data_is_found_with_other_libraries(
    cache: Path,
    consultations: Callable[..., Path],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
) -> None:
    tokenizer.save_pretrained(tmp_path / "folder")
    settings = recipe(consultations(), tokenizer=named if named == "train" else str(tmp_path / "folder"))
    first, version = prepare(settings), keys.version
    text, parts = store_tokenizer(first.tokenizer), KeyParts.from_dict(first.report["parts"])
    monkeypatch.setattr(keys, "version", lambda library: version(library) + "x" * (library == "ftfy"))
    assert prepare(settings).fingerprint != first.fingerprint
    again = prepare(settings, tokenizer_text=text, parts=parts)
    assert (again.fingerprint, again.report, again.cached) == (first.fingerprint, first.report, True)
    with pytest.raises(InputError, match="content of the sources"):
        prepare(recipe(consultations(rows=70), tokenizer=settings.tokenizer), tokenizer_text=text, parts=parts)
    train_tokenizer(["Another text. " * 5], 300).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match=r"its data differs in .*tokenizer"):
        prepare(replace(settings, tokenizer=str(tmp_path / "other")), parts=parts)


def test_moved_file_is_found_again(cache: Path, consultations: Callable[..., Path]) -> None:
    first = prepare(recipe(consultations()))
    moved = prepare(recipe(consultations(name="elsewhere/consultations.csv")))
    assert moved.cached
    assert moved.fingerprint == first.fingerprint


def fingerprint(recipe: Recipe, content: bytes, tokenizer: str | None) -> str:
    prompt = Prompt(recipe.system_prompt, recipe.prompt_format or "plain")
    return KeyParts(describe_rows(recipe, content), describe_tokens(recipe, tokenizer, prompt)).tokens_key


def test_fingerprint_is_of_every_setting_and_of_no_place() -> None:
    """A setting that is added one day is in it, or this test says so."""
    sources = (Source("a.csv", "input", "output"),)
    others: dict[str, Any] = {
        "vocab_size": 300,
        "system_prompt": "Be kind. ",
        "prompt_format": "chat",
        "add_tokens": ("[PHONE]",),
        "max_length": 127,
        "eval_max_length": 257,
        "test_fraction": 0.11,
        "val_fraction": 0.06,
        "rules": {**recipe("a.csv").rules, "cut_answer": True},
        "private_data": False,
        "near_duplicates": False,
        "on_bad_row": "drop",
        "seed": 43,
        "file_splits": ("test",),
        "checked_tables": (CheckedTable("test.csv", "0" * 64),),
    }
    first = replace(recipe("a.csv"), sources=sources)
    assert {field.name for field in fields(Recipe)} == {"sources", "tokenizer", "check_against", *others}
    prints = [fingerprint(first, b"content", None)]
    assert prints[0] == fingerprint(replace(first), b"content", None)
    prints += [fingerprint(replace(first, **{name: other}), b"content", None) for name, other in others.items()]
    for change in (
        {"question_column": "asked"},
        {"answer_column": "replied"},
        {"messages_column": "input"},
        {"group_column": "patient"},
    ):
        prints.append(fingerprint(replace(first, sources=(replace(sources[0], **change),)), b"content", None))
    prints += [fingerprint(first, b"other", None), fingerprint(first, b"content", "rules of a tokenizer")]
    prints.append(fingerprint(first, b"content", "Rules of a tokenizer"))
    assert len(set(prints)) == len(prints)
    for change in ({"path": "/elsewhere/b.csv"}, {"weight": 3.0}):
        assert fingerprint(replace(first, sources=(replace(sources[0], **change),)), b"content", None) == prints[0]
    assert fingerprint(replace(first, tokenizer="/elsewhere"), b"content", None) == prints[0]  # its rules count
    assert fingerprint(replace(first, check_against=("a.csv",)), b"content", None) == prints[0]  # its content counts
    cleaning = ("rules", "private_data", "near_duplicates", "on_bad_row", "checked_tables")
    for name, other in others.items():
        same = describe_rows(replace(first, **{name: other}), b"content") == describe_rows(first, b"content")
        assert same == (name not in cleaning)


def test_digest_is_of_every_byte_of_every_file_in_its_place(tmp_path: Path) -> None:
    def digest(
        *contents: bytes, names: str = "abc", under: str = "data", numbers: tuple[int, ...] = (0, 0, 0)
    ) -> bytes:
        files = [tmp_path / under / f"{name}.csv" for name in names[: len(contents)]]
        for file, content in zip(files, contents, strict=True):
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        return SourceDigests(tmp_path, list(zip(numbers, files, strict=False))).compute()[0]

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
