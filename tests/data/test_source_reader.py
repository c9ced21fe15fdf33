"""Instructions are joined to questions; what a table holds and is not read is named once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.report.data_report import write_report
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.source import Source, parse_sources
from lightning_med.data.sources.source_reader import SourceReader, make_readers
from lightning_med.utils.errors import InputError
from tests.conftest import consultation
from tests.written_tables import SUFFIXES
from tests.written_tables import write_records as write

ALPACA = ("instruction", "input", "output")
VARIED = [("What helps?", "I cough.", "Tea."), ("Explain fever.", "", "Heat."), ("", "I ache.", "Rest.")]
JOINED = ["What helps?\n\nI cough.", "Explain fever.", "I ache."]
CONSTANT = [("Be a doctor.", "I cough.", "Tea."), ("Be a doctor. ", "", "Heat."), ("Be a doctor.", "I ache.", "Rest.")]


def read(*files: Path, **columns: Any) -> tuple[list[Any], list[str]]:
    """Reads the files of one source; returns the questions and the notes."""
    source = Source("tables", **{"question_column": "input", "answer_column": "output", **columns})
    reader = SourceReader(source, list(files), BadRows())
    questions = pd.concat([frame for file in files for frame in reader.read(file)])["question"].tolist()
    return [None if question != question else question for question in questions], reader.notes


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_different_instructions_are_joined_to_their_questions(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", VARIED, ALPACA)
    note = f"a{suffix}: instruction and input are joined to one question."
    assert read(path, instruction_column="auto") == (JOINED, [note])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_instruction_for_all_rows_is_a_system_prompt(tmp_path: Path, suffix: str) -> None:
    questions, notes = read(write(tmp_path / f"a{suffix}", CONSTANT, ALPACA), instruction_column="auto")
    assert [question.strip() for question in questions] == ["I cough.", "Be a doctor.", "I ache."]
    assert len(notes) == 1
    assert "instruction is the same in all rows and left out" in notes[0]
    assert "--data.system_prompt" in notes[0]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_last_row_may_be_the_one_that_differs(tmp_path: Path, suffix: str) -> None:
    rows = [("Be a doctor.", f"I cough {number}.", "Tea.") for number in range(3_000)]
    path = write(tmp_path / f"a{suffix}", [*rows, ("Be brief.", "I ache.", "Rest.")], ALPACA)
    questions, _ = read(path, instruction_column="auto")
    assert (questions[0], questions[-1]) == ("Be a doctor.\n\nI cough 0.", "Be brief.\n\nI ache.")


def test_the_files_of_a_source_are_one(tmp_path: Path) -> None:
    """Each file may be of one task; a file without the column has whole questions."""
    one = write(tmp_path / "a.csv", CONSTANT, ALPACA)
    other = write(tmp_path / "b.jsonl", [("Be brief.", "I sneeze.", "Sleep.")], ALPACA)
    plain = write(tmp_path / "c.csv", [("I itch.", "Wait.")])
    questions, notes = read(one, other, plain, instruction_column="auto")
    constant = ["Be a doctor.\n\nI cough.", "Be a doctor. ", "Be a doctor.\n\nI ache."]
    assert questions == [*constant, "Be brief.\n\nI sneeze.", "I itch."]
    assert notes == ["a.csv and 2 more: instruction and input are joined to one question."]


@pytest.mark.parametrize("second", [CONSTANT, [("Be brief.", "I sneeze.", "Sleep.")]])
def test_the_sources_of_a_recipe_are_joined_alike(tmp_path: Path, second: list[tuple[str, str, str]]) -> None:
    """They vary in one of them, or differ between them."""
    first = VARIED if second is CONSTANT else CONSTANT[:1]
    files = [write(tmp_path / "train.csv", first, ALPACA), write(tmp_path / "test.csv", second, ALPACA)]
    source = Source("tables", "input", "output", instruction_column="auto")
    own = Source("tables", "input", "output")
    plain = write(tmp_path / "plain.csv", CONSTANT, ALPACA)
    readers = make_readers([source, source, own], list(enumerate([*files, plain])), BadRows())
    for reader, file, rows in zip(readers, files, (first, second), strict=False):
        questions = pd.concat(reader.read(file))["question"].tolist()
        assert questions[0] == f"{rows[0][0]}\n\n{rows[0][1]}"
        assert reader.notes == [f"{file.name}: instruction and input are joined to one question."]
    assert pd.concat(readers[2].read(plain))["question"].tolist()[0] == "I cough."
    assert readers[2].notes == ["plain.csv: columns not used: instruction."]


def test_a_blank_instruction_differs_from_one_that_is_not(tmp_path: Path) -> None:
    rows = [("I cough.", "", "Tea."), ("", "I ache.", "Rest.")]
    questions, notes = read(write(tmp_path / "a.csv", rows, ALPACA), instruction_column="auto")
    assert questions == ["I cough.", "I ache."]
    assert notes == ["a.csv: instruction and input are joined to one question."]


def test_a_column_that_is_named_is_joined_whatever_it_holds(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", CONSTANT[:1], ("task", "input", "output"))
    assert read(path, instruction_column="task") == (["Be a doctor.\n\nI cough."], [])
    path = write(tmp_path / "b.csv", CONSTANT[:1], ALPACA)
    assert read(path, instruction_column="instruction")[0] == ["Be a doctor.\n\nI cough."]
    with pytest.raises(InputError, match="no column 'task'") as caught:
        read(path, instruction_column="task")
    assert "--data.instruction_column" in caught.value.hint


@pytest.mark.parametrize("columns", [{"instruction_column": None}, {"question_column": "asked"}])
def test_without_it_the_column_is_named_as_not_used(tmp_path: Path, columns: dict[str, Any]) -> None:
    names = ("instruction", columns.get("question_column", "input"), "output")
    questions, notes = read(write(tmp_path / "a.csv", VARIED, names), **{"instruction_column": "auto", **columns})
    assert questions == ["I cough.", None, "I ache."]
    assert notes == ["a.csv: columns not used: instruction."]


def test_instruction_as_the_question_itself(tmp_path: Path) -> None:
    """Then it is `input` that is not used."""
    path = write(tmp_path / "a.csv", VARIED, ALPACA)
    questions, notes = read(path, question_column="instruction", instruction_column="auto")
    assert questions == ["What helps?", "Explain fever.", None]
    assert notes == ["a.csv: columns not used: input."]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_an_instruction_that_begins_late_is_refused(tmp_path: Path, suffix: str) -> None:
    """The first rows decide what columns a JSON file has."""
    rows: list[dict[str, str]] = [{"input": f"I cough {number}.", "output": "Tea."} for number in range(1_200)]
    rows += [{"instruction": "What helps?", "input": "I ache.", "output": "Rest."}]
    path = tmp_path / f"a{suffix}"
    path.write_text(json.dumps(rows) if suffix == ".json" else "\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match="no 'instruction' at first") as caught:
        read(path, instruction_column="auto")
    assert "--data.instruction_column null" in caught.value.hint
    questions, notes = read(path)
    assert (len(questions), notes) == (1_201, [f"a{suffix}: columns not used: instruction."])


def test_every_source_may_have_its_own(tmp_path: Path) -> None:
    common = {"question_column": "input", "answer_column": "output", "instruction_column": "auto"}
    first, second = parse_sources(["a.csv", {"path": "b.csv", "instruction_column": None}], **common)
    assert (first.instruction_column, second.instruction_column) == ("auto", None)
    with pytest.raises(InputError, match="two columns have the same name 'input'"):
        parse_sources([{"path": "b.csv", "instruction_column": "input"}], **common)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_that_look_meant_are_named_and_others_are_not(tmp_path: Path, suffix: str) -> None:
    names = ("id", "input", "output", "History", "system", "url", "score", "Split", "created_at", "weight ")
    rows = [tuple("x" for _ in names)] * 2
    note = f"a{suffix}: columns not used: History, Split, system, weight ."
    assert read(write(tmp_path / f"a{suffix}", rows, names))[1] == [note]


def test_a_column_that_is_read_is_not_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("x", "y", "7")], ("prompt", "response", "patient"))
    used = {"question_column": "prompt", "answer_column": "response", "group_column": "patient"}
    assert read(path, **used)[1] == []


def test_keys_of_messages_and_system_messages_are_named(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": "Rest.", "tool_calls": [{"id": 1}], "name": "Ann", "refusal": None}
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "It hurts."}, call]
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"messages": messages, "tools": [], "input": "x"}))
    assert read(path, messages_column="messages")[1] == [
        "chats.jsonl: columns not used: input, tools.",
        "chats.jsonl: keys of messages not used: tool_calls.",
        "chats.jsonl: system messages not used: --data.system_prompt stands before every conversation.",
    ]


def test_notes_are_said_once_and_stay_in_the_report(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("<b>Be</b>", *consultation(number), "x") for number in range(30)]
    path = write(tmp_path / "a.csv", rows, (*ALPACA, "history"))
    recipe = DialogueDataModule(str(path), "train", 400).recipe
    notes = prepare(recipe).report["notes"]
    assert [note.split(": ", 1)[1][:30] for note in notes] == [
        "instruction is the same in all",
        "columns not used: history.",
    ]
    assert capsys.readouterr().out.splitlines() == notes
    again = prepare(recipe)
    assert again.cached
    assert not capsys.readouterr().out
    write_report(again, tmp_path / "report")
    assert json.loads((tmp_path / "report" / "report.json").read_text())["notes"] == notes
    assert "columns not used: history." in (tmp_path / "report" / "report.html").read_text()
