"""A turn that its owner marks as not to be learned is context alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.pipeline import Prepared, prepare
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.source import Source
from lightning_med.data.sources.source_reader import SourceReader, read_frames
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.tokenization.consultation import ANSWER, PROMPT, QUESTION
from lightning_med.tokenization.tokenizer import END
from lightning_med.utils.errors import InputError
from tests.conftest import consultation

NOT_LEARNED: list[dict[str, Any]] = [
    {"weight": 0},
    {"weight": 0.0},
    {"train": False},
    {"training": False},
    {"loss": False},
    {"loss_mask": 0},
    {"weight": None, "train": False},
]
LEARNED: list[dict[str, Any]] = [
    {},
    {"weight": 1},
    {"weight": 1.0},
    {"train": True},
    {"training": True},
    {"weight": None},
]


def chat(number: int, *marks: dict[str, Any]) -> list[dict[str, Any]]:
    """A conversation with an exchange for each mark of an answer."""
    messages: list[dict[str, Any]] = []
    for turn, mark in enumerate(marks):
        question, answer = consultation(number * 10 + turn)
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **mark}]
    return messages


def write(path: Path, cells: list[Any]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"messages": cells}), path)
    elif path.suffix == ".csv":
        pd.DataFrame({"messages": list(map(json.dumps, cells))}).to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps({"messages": cell}) + "\n" for cell in cells), encoding="utf-8")
    return path


def prepared_from(path: Path, **changes: Any) -> Prepared:
    settings: dict[str, Any] = {"max_length": 512, "system_prompt": "Be kind.", "messages_column": "messages"}
    return prepare(DialogueDataModule(str(path), "train", 400, **{**settings, **changes}).recipe)


def decode(prepared: Prepared) -> dict[int, tuple[str, str, str]]:
    """By row: everything, the learned answers and the questions."""
    found = {}
    for split in SPLITS:
        store = prepared.store(split)
        for row in range(len(store)):
            ids, parts = store.input_ids(row), store.parts(row)
            pieces = (ids, ids[parts == ANSWER], ids[parts == QUESTION])
            found[store.texts(row)["row"]] = tuple(map(prepared.tokenizer.decode, pieces))
            assert store.targets[ANSWER][row] == (parts == ANSWER).sum()
            learned = " ".join(decode_answers(prepared, ids[parts == ANSWER]))
            assert store.answer_bytes[row] >= len(learned.replace(" ", "").encode()) > 0
    return found


def decode_answers(prepared: Prepared, ids: np.ndarray) -> list[str]:
    return [text.strip() for text in prepared.tokenizer.decode(ids).split(END)]


@pytest.mark.parametrize("mark", NOT_LEARNED)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_marks_of_the_usual_data_sets(tmp_path: Path, suffix: str, mark: dict[str, Any]) -> None:
    path = write(tmp_path / f"chats{suffix}", [chat(0, mark, {}), *(chat(n, own) for n, own in enumerate(LEARNED, 1))])
    frame = pd.concat(read_frames(Source(str(path), "", "", messages_column="messages"), path, BadRows()))
    assert frame["learned"].tolist() == [False, *[True] * (len(LEARNED) + 1)]
    assert frame["answer"].tolist()[0] == consultation(0)[1]


def test_parts_with_text_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "My knee "}, {"type": "text", "text": "hurts."}]
    cell = [{"role": "user", "content": parts}, {"role": "assistant", "content": [{"type": "text", "text": "Rest."}]}]
    for suffix in (".jsonl", ".parquet"):
        path = write(tmp_path / f"chats{suffix}", [cell])
        (frame,) = read_frames(Source(str(path), "", "", messages_column="messages"), path, BadRows())
        assert frame[["question", "answer"]].to_numpy().tolist() == [["My knee hurts.", "Rest."]]


def test_a_turn_that_is_not_learned_stays_the_context_of_the_next(cache: Path, tmp_path: Path) -> None:
    cells = [chat(number, {"weight": 0}, {}, {"train": False}) for number in range(40)]
    path = write(tmp_path / "chats.jsonl", cells)
    plain = write(tmp_path / "plain.jsonl", [chat(number, {}, {}, {}) for number in range(40)])
    marked, unmarked = decode(prepared_from(path)), decode(prepared_from(plain))
    assert len(marked) == 40
    for number in range(40):
        exchanges = [consultation(number * 10 + turn) for turn in range(3)]
        whole, learned, asked = marked[number]
        assert whole == unmarked[number][0]
        assert learned == f" {exchanges[1][1]}{END}"
        assert asked == "".join(f" {question}" for question, _ in exchanges)
        assert unmarked[number][1] == "".join(f" {answer}{END}" for _, answer in exchanges)


def test_the_report_and_the_tables_tell_what_is_learned(cache: Path, tmp_path: Path) -> None:
    prepared = prepared_from(write(tmp_path / "chats.jsonl", [chat(n, {"weight": 0}, {}) for n in range(40)]))
    for split in SPLITS:
        store = prepared.store(split)
        rows = pq.read_table(prepared.folder / f"{split}.parquet").to_pylist()
        assert [row["learned"] for row in rows] == [row["turn"] == 1 for row in rows]
        counted = prepared.report["tokens"][split]["answer"]
        assert counted == sum((store.parts(row) == ANSWER).sum() for row in range(len(store))) > 0
        assert {store.texts(row)["answer"] for row in range(len(store))} == {""}  # no reference for `predict`


def test_a_conversation_without_a_learned_turn_is_dropped_and_counted(cache: Path, tmp_path: Path) -> None:
    cells = [chat(number, {}) for number in range(40)]
    cells[0], cells[1] = chat(0, {"weight": 0}), chat(1, {"train": False}, {"train": False})
    cells[2] = chat(2, {"weight": 0}, {})
    cells[2][2]["content"] = " "  # a blank question ends the conversation before what is learned
    cells[3] = chat(3, {"weight": 0}, {}, {})
    cells[3][5]["content"] = " "
    report = prepared_from(write(tmp_path / "chats.jsonl", cells)).report
    assert (report["rules"]["not_learned"], report["effects"]["not_learned"]) == (3, "dropped")
    assert (report["rows_out"], report["rules"]["blank"]) == (37, 0)


def test_rules_for_answers_do_not_judge_what_is_not_learned(cache: Path, tmp_path: Path) -> None:
    cells = [chat(number, {}) for number in range(40)]
    cells[0], cells[1] = chat(0, {"weight": 0}, {}), chat(1, {}, {})
    for cell in cells[:2]:
        cell[1]["content"] = "Please rest and take the"
    report = prepared_from(write(tmp_path / "chats.jsonl", cells), rules={"cut_answer": True}).report
    assert (report["rules"]["cut_answer"], report["rows_out"]) == (1, 39)


def test_conversations_that_differ_in_their_marks_are_no_duplicates(cache: Path, tmp_path: Path) -> None:
    cells = [chat(number, {}, {}) for number in range(40)]
    cells += [chat(0, {"weight": 0}, {}), chat(0, {}, {"weight": 0}), chat(0, {}, {"train": False}), chat(0, {}, {})]
    prepared = prepared_from(write(tmp_path / "chats.jsonl", cells))
    assert (prepared.report["rules"]["duplicate"], prepared.report["rows_out"]) == (2, 42)
    sides = [
        split
        for split in SPLITS
        for row in range(len(prepared.store(split)))
        if prepared.store(split).texts(row)["row"] in (0, 40, 41)
    ]
    assert len(sides) == 3
    assert len(set(sides)) == 1


def test_a_long_conversation_keeps_what_is_learned(cache: Path, tmp_path: Path) -> None:
    """Its first turns go, not the only one that is learned."""
    cells = [chat(number, *[{"weight": 0}] * 7, {}) for number in range(40)]
    prepared = prepared_from(write(tmp_path / "chats.jsonl", cells), max_length=200, eval_max_length=200)
    found = decode(prepared)
    for number, (whole, learned, _) in found.items():
        assert learned == f" {consultation(number * 10 + 7)[1]}{END}"
        assert whole.startswith("Be kind.")
        assert consultation(number * 10 + 6)[1] in whole
        assert consultation(number * 10)[1] not in whole
    assert sum(split["cut"] for split in prepared.report["tokens"].values()) == len(found) == 40
    for split in SPLITS:
        store = prepared.store(split)
        assert store.lengths.max() <= 200
        assert all(store.parts(row)[0] == PROMPT for row in range(len(store)))


@pytest.mark.parametrize("mark", [{"mask": 0}, {"mask": False}, {"loss_scale": 0}, {"loss_scale": 0.0}])
def test_a_mark_that_is_not_understood_is_refused(tmp_path: Path, mark: dict[str, Any]) -> None:
    path = write(tmp_path / "chats.jsonl", [chat(0, mark)])
    with pytest.raises(InputError, match=f"a message's {next(iter(mark))} is 0"):
        list(read_frames(Source(str(path), "", "", messages_column="messages"), path, BadRows()))


def test_values_of_marks_that_change_nothing_are_named(tmp_path: Path) -> None:
    cell = chat(0, {"mask": 1, "loss_scale": 1.0, "reasoning": None})
    cell[0]["loss_scale"] = 0  # of the patient, who is not learned anyway
    path = write(tmp_path / "chats.jsonl", [cell])
    reader = SourceReader(Source(str(path), "", "", messages_column="messages"), [path], BadRows())
    assert pd.concat(reader.read(path))["learned"].tolist() == [True]
    assert reader.notes == ["chats.jsonl: keys of messages not used: loss_scale, mask."]
