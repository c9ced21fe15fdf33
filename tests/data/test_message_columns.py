"""Columns are recognised where none is named: messages are read, and the usual pairs are named in the hint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.source import Source
from lightning_med.data.sources.source_reader import SourceReader
from lightning_med.utils.errors import InputError
from tests.conftest import consultation
from tests.written_tables import SUFFIXES, write_records

SHAREGPT, OPENAI = ("from", "value"), ("role", "content")
KINDS = {SHAREGPT: "ShareGPT messages (from, value)", OPENAI: "chat messages (role, content)"}
PAIRS = [("It hurts.", "Where?"), ("Here.", "Rest it.")]


def to_messages(keys: tuple[str, str], *turns: tuple[str, str]) -> list[dict[str, str]]:
    return [dict(zip(keys, turn, strict=True)) for turn in turns]


def make_chat(keys: tuple[str, str], patient: str = "human", doctor: str = "gpt") -> list[dict[str, str]]:
    turns = [turn for question, answer in PAIRS for turn in ((patient, question), (doctor, answer))]
    return to_messages(keys, ("system", "Be kind."), *turns)


def write_chats(path: Path, columns: dict[str, list[Any]]) -> Path:
    """Lists are written as JSON text in a format that has no lists."""
    typed = {".json", ".jsonl", ".parquet"} & set(path.suffixes)
    rows = [
        [cell if typed or not isinstance(cell, list) else json.dumps(cell) for cell in row]
        for row in zip(*columns.values(), strict=True)
    ]
    return write_records(path, rows, tuple(columns))


def read(*files: Path, **columns: Any) -> tuple[list[tuple[str, str]], list[str]]:
    source = Source("tables", **{"question_column": "input", "answer_column": "output", **columns})
    reader = SourceReader(source, list(files), BadRows())
    frame = pd.concat([frame for file in files for frame in reader.read(file)])
    return list(zip(frame["question"], frame["answer"], strict=True)), reader.notes


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("name", "keys", "roles"),
    [
        ("conversations", SHAREGPT, ("human", "gpt")),
        ("conversation", SHAREGPT, ("user", "assistant")),
        ("messages", OPENAI, ("user", "assistant")),
        ("chat", OPENAI, ("patient", "doctor")),
    ],
)
def test_the_one_column_of_messages_is_read_and_said(
    tmp_path: Path, suffix: str, name: str, keys: tuple[str, str], roles: tuple[str, str]
) -> None:
    chats = [make_chat(keys, *roles)] * 3
    path = write_chats(tmp_path / f"notes{suffix}", {"id": ["a", "b", "c"], name: chats, "tags": ["[x]", "{}", "[]"]})
    pairs, notes = read(path)
    assert pairs == PAIRS * 3
    assert notes[0] == (
        f"notes{suffix}: column {name!r} holds {KINDS[keys]}; it is read as messages_column, for there is no"
        " 'input' nor 'output'."
    )
    assert notes[1:] == [
        f"notes{suffix}: system messages not used: --data.system_prompt stands before every conversation."
    ]


def test_it_is_the_same_as_with_the_option(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chats = [to_messages(SHAREGPT, *zip(("human", "gpt"), consultation(number), strict=True)) for number in range(40)]
    path = write_chats(tmp_path / "notes.jsonl", {"conversations": chats, "patient": ["7", "8", "9", "10"] * 10})
    found = prepare(DialogueDataModule(str(path), "train", 400, group_column="patient").recipe)
    assert "column 'conversations' holds ShareGPT messages" in capsys.readouterr().out
    named = DialogueDataModule(str(path), "train", 400, group_column="patient", messages_column="conversations")
    frames = [pd.read_parquet(one.folder / "train.parquet") for one in (found, prepare(named.recipe))]
    assert frames[0].equals(frames[1])
    assert found.report["groups"] == 4


def test_columns_that_are_there_win_and_the_messages_are_said(tmp_path: Path) -> None:
    columns = {"messages": [make_chat(OPENAI, "user", "assistant")], "input": ["I cough."], "output": ["Tea."]}
    assert read(write_chats(tmp_path / "a.jsonl", columns)) == (
        [("I cough.", "Tea.")],
        ["a.jsonl: columns not used: messages."],
    )


@pytest.mark.parametrize(("there", "missing"), [("input", "output"), ("output", "input")])
def test_one_missing_column_is_not_made_up_for_by_messages(tmp_path: Path, there: str, missing: str) -> None:
    path = write_chats(tmp_path / "a.jsonl", {"messages": [make_chat(OPENAI)], there: ["I cough."]})
    with pytest.raises(InputError, match=f"no column '{missing}'"):
        read(path)


def test_columns_that_were_named_are_not_replaced(tmp_path: Path) -> None:
    path = write_chats(tmp_path / "a.jsonl", {"messages": [make_chat(OPENAI)]})
    with pytest.raises(InputError, match="no column 'asked'"):
        read(path, question_column="asked")


def test_an_instruction_that_was_named_is_not_dropped_for_messages(tmp_path: Path) -> None:
    path = write_chats(tmp_path / "a.jsonl", {"context": ["Asthma."], "conversations": [make_chat(SHAREGPT)]})
    with pytest.raises(InputError, match="no column 'input'"):
        read(path, instruction_column="context")
    assert read(path, instruction_column=None)[0] == PAIRS


def test_several_columns_of_messages_are_asked_for(tmp_path: Path) -> None:
    path = write_chats(tmp_path / "a.jsonl", {"rejected": [make_chat(OPENAI)], "chosen": [make_chat(OPENAI)]})
    with pytest.raises(InputError, match="several that hold messages: chosen, rejected") as caught:
        read(path)
    assert caught.value.hint == "Name one: --data.messages_column chosen"
    assert read(path, messages_column="chosen")[0] == PAIRS


@pytest.mark.parametrize(
    "cell",
    ["It hurts.", "[x]", [], ["It hurts."], [{"url": "x"}], [*make_chat(OPENAI), {"url": "x"}], {"role": "user"}, 7],
)
def test_what_is_no_list_of_messages_is_not_taken(tmp_path: Path, cell: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"notes": one}) + "\n" for one in (make_chat(OPENAI), cell)))
    with pytest.raises(InputError, match="no column 'input'"):
        read(path)


def test_a_fault_in_messages_that_were_recognised_names_its_row(tmp_path: Path) -> None:
    path = write_chats(tmp_path / "a.jsonl", {"messages": [make_chat(OPENAI), make_chat(OPENAI, "Ann")]})
    with pytest.raises(InputError, match=r"line 2 \(row 1\): a message has a role that is neither"):
        read(path)


def test_files_of_both_kinds_may_be_of_one_source(tmp_path: Path) -> None:
    chats = write_chats(tmp_path / "a.jsonl", {"conversations": [None, make_chat(SHAREGPT)]})
    pairs, notes = read(chats, write_records(tmp_path / "b.csv", [("I cough.", "Tea.")]))
    assert pairs[1:] == [*PAIRS, ("I cough.", "Tea.")]
    assert notes[0].startswith("a.jsonl and 1 more: column 'conversations' holds")


def test_messages_in_a_table_to_check_against_are_recognised(cache: Path, tmp_path: Path) -> None:
    ours = write_records(tmp_path / "a.csv", [consultation(number) for number in range(30)])
    chat = to_messages(SHAREGPT, *zip(("human", "gpt"), consultation(3), strict=True))
    public = write_chats(tmp_path / "b.jsonl", {"talk": [chat]})
    report = prepare(DialogueDataModule(str(ours), "train", 400, check_against=str(public)).recipe).report
    assert report["checked_against"]["left_out"] == 1


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (("question", "answer"), "--data.question_column question --data.answer_column answer"),
        (("id", "Prompt", "Completion"), "--data.question_column Prompt --data.answer_column Completion"),
        (("prompt", "response"), "--data.question_column prompt --data.answer_column response"),
        (("instruction", "output"), "--data.question_column instruction"),
        (("Description", "Patient", "Doctor"), "--data.question_column Patient --data.answer_column Doctor"),
        (("instruction", "question", "answer"), "--data.question_column question --data.answer_column answer"),
        (("input", "answers"), "--data.answer_column answers"),
        (("prompt", "x"), "--data.question_column prompt --data.answer_column NAME"),
        (("x", "y"), "--data.question_column NAME --data.answer_column NAME"),
    ],
)
def test_the_hint_names_the_options_of_a_usual_pair(tmp_path: Path, names: tuple[str, ...], hint: str) -> None:
    path = write_records(tmp_path / "a.csv", [names], names)
    with pytest.raises(InputError, match=r"no column '(in|out)put'") as caught:
        read(path)
    assert caught.value.hint.removeprefix("Name yours: ").split(". ")[0] == hint
    if "NAME" not in hint and len(hint.split()) == 4:
        options = dict(zip(hint.split()[::2], hint.split()[1::2], strict=True))
        columns = {name.removeprefix("--data."): value for name, value in options.items()}
        assert len(read(path, **columns)[0]) == 1
