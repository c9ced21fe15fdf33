"""Lists of messages become exchanges in order; a conversation that cannot be read is reported, never guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.pipeline import Prepared, prepare
from lightning_med.data.sources import table_files
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.source import Source
from lightning_med.data.sources.source_reader import read_frames
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.tokenization.consultation import ANSWER, QUESTION
from lightning_med.tokenization.tokenizer import END
from lightning_med.utils.errors import InputError
from tests.conftest import consultation
from tests.written_tables import SUFFIXES, write_records

Messages = list[dict[str, Any]]
HALF, NUL = "\ud83d", "\x00"
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=NUL), max_size=30)


def to_messages(*turns: str) -> Messages:
    """Messages from texts that begin with `p:`, `d:` or `s:`: the patient, the doctor, the system."""
    roles = {"p": "user", "d": "assistant", "s": "system"}
    return [{"role": roles[turn[0]], "content": turn[2:]} for turn in turns]


def to_marked(name: str, mark: Any) -> Messages:
    """A question, and an answer with a mark."""
    return [{"role": "user", "content": "It hurts."}, {"role": "assistant", "content": "Rest it.", name: mark}]


SHORT, LONG = (
    to_messages("p:It hurts.", "d:Where?"),
    to_messages("s:Be kind.", "p:I cough.", "d:Since when?", "p:Monday.", "d:Rest."),
)
PAIRS = [("It hurts.", "Where?"), ("I cough.", "Since when?"), ("Monday.", "Rest.")]


def frame_of(folder: Path, cells: list[Any], bad: BadRows | None = None) -> pd.DataFrame:
    """Reads cells of messages from a file."""
    return read_all(write(folder / "chats.jsonl", cells), bad)


def pairs(folder: Path, cell: Any) -> list[tuple[Any, Any]]:
    """Reads the exchanges of one conversation."""
    frame = frame_of(folder, [cell])
    assert frame["turn"].tolist() == list(range(len(frame)))
    return list(zip(frame["question"], frame["answer"], strict=True))


def write(path: Path, cells: list[Any], as_text: bool = False, **others: list[Any]) -> Path:
    """Writes a table with a column `messages` in the format of the path's suffix, as JSON text where it has no lists."""
    if as_text or not {".json", ".jsonl", ".parquet"} & set(path.suffixes):
        cells = [cell if isinstance(cell, str) else json.dumps(cell) for cell in cells]
    columns = {"id": [f"c{number}" for number in range(len(cells))], "messages": cells, **others}
    return write_records(path, list(zip(*columns.values(), strict=True)), tuple(columns))


def read_all(path: Path, bad: BadRows | None = None, **columns: str) -> pd.DataFrame:
    source = Source(str(path), "input", "output", messages_column="messages", **columns)
    return pd.concat(read_frames(source, path, bad or BadRows()))


def chat(number: int, turns: int = 3) -> Messages:
    """A conversation that is different for each number."""
    exchanges = [consultation(number * 10 + turn) for turn in range(turns)]
    return to_messages(*(f"{side}:{text}" for pair in exchanges for side, text in zip("pd", pair, strict=True)))


def prepared_from(path: Path, **changes: Any) -> Prepared:
    settings: dict[str, Any] = {"tokenizer": "train", "vocab_size": 400, "max_length": 512, "system_prompt": "Be kind."}
    settings["messages_column"] = "messages"
    return prepare(DialogueDataModule(str(path), **{**settings, **changes}).recipe)


# Exchanges


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("as_text", [True, False])
def test_every_kind_of_table_holds_conversations(tmp_path: Path, suffix: str, as_text: bool) -> None:
    frame = read_all(write(tmp_path / f"chats{suffix}", [SHORT, LONG], as_text))
    assert list(zip(frame["question"], frame["answer"], strict=True)) == PAIRS
    assert list(zip(frame["row"], frame["turn"], strict=True)) == [(0, 0), (1, 0), (1, 1)]


def test_a_conversation_is_in_one_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk counts conversations, not exchanges: none is split."""
    monkeypatch.setattr(table_files, "CHUNK", 2)
    path = write(tmp_path / "chats.jsonl", [chat(number) for number in range(5)])
    source = Source(str(path), "", "", messages_column="messages")
    assert [frame["row"].tolist() for frame in read_frames(source, path, BadRows())] == [
        [0, 0, 0, 1, 1, 1],
        [2, 2, 2, 3, 3, 3],
        [4, 4, 4],
    ]


def test_every_exchange_keeps_the_patient_of_its_conversation(tmp_path: Path) -> None:
    frame = read_all(write(tmp_path / "chats.csv", [SHORT, LONG], patient=["7", ""]), group_column="patient")
    assert frame["group"].tolist() == ["7", None, None]


@pytest.mark.parametrize(
    "roles",
    [("user", "assistant"), ("human", "gpt"), ("patient", "doctor"), ("User", "MODEL")],
)
def test_roles_and_keys_of_the_usual_data_sets(tmp_path: Path, roles: tuple[str, str]) -> None:
    texts = ["It hurts.", "Where?"]
    for who, what in (("role", "content"), ("from", "value")):
        assert pairs(tmp_path, [{who: role, what: text} for role, text in zip(roles, texts, strict=True)]) == [
            tuple(texts)
        ]


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (
            ["p:a", "p:b", "d:c", "d:d", "p:e", "d:f"],
            [("a\nb", "c\nd"), ("e", "f")],
        ),  # consecutive messages of one side are joined
        (["d:Hello!", "d:Well?", "p:a", "d:b"], [("a", "b")]),  # nobody has asked yet
        (["p:a", "d:b", "p:Thanks."], [("a", "b")]),  # nobody replies
        (["s:Be kind.", "p:a", "s:Be brief.", "d:b"], [("a", "b")]),
        (["p:a", "s:Be brief.", "p:b", "d:c"], [("a\nb", "c")]),
        (["p:", "d:b", "p:c", "d:"], [("", "b"), ("c", "")]),  # the rules for blank texts decide later
    ],
)
def test_turns(tmp_path: Path, turns: list[str], expected: list[tuple[str, str]]) -> None:
    assert pairs(tmp_path, to_messages(*turns)) == expected
    assert pairs(tmp_path, json.dumps(to_messages(*turns))) == expected


@pytest.mark.parametrize(
    "cell",
    [
        None,
        [],
        "[]",
        to_messages("s:Be kind."),
        to_messages("d:Hello!"),
        to_messages("p:Anyone?"),
        to_messages("d:Hello!", "p:Anyone?"),
    ],
)
def test_conversation_without_an_exchange_is_one_missing_row(tmp_path: Path, cell: Any) -> None:
    assert pairs(tmp_path, cell) == [(None, None)]


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8), st.booleans())
def test_alternating_turns_come_back_in_order(tmp_path: Path, turns: list[tuple[str, str]], as_text: bool) -> None:
    messages = [
        {"role": role, "content": text}
        for pair in turns
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    assert pairs(tmp_path, json.dumps(messages) if as_text else messages) == turns


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), st.text("abc", min_size=1)), max_size=12))
def test_any_order_of_speakers_loses_only_what_has_no_partner(tmp_path: Path, messages: list[tuple[str, str]]) -> None:
    spoken = [(role, text) for role, text in messages if role != "system"]
    while spoken and spoken[0][0] == "assistant":
        spoken.pop(0)
    while spoken and spoken[-1][0] == "user":
        spoken.pop()
    found = pairs(tmp_path, [{"role": role, "content": text} for role, text in messages])
    if not spoken:
        assert found == [(None, None)]
        return
    lines = [(role, text) for pair in found for role, text in zip(("user", "assistant"), pair, strict=True)]
    assert [(role, text) for role, joined in lines for text in joined.split("\n")] == spoken


# Conversations that cannot be read

FAULTS = [
    ([{"role": "nurse", "content": "Jane"}], "a role that is neither user nor assistant"),
    ([{"role": "tool", "content": "x"}], "a role that is neither user nor assistant"),
    ([{"content": "x"}], "a role that is neither user nor assistant"),
    ([{"role": None, "content": "x"}], "a role that is neither user nor assistant"),
    ([{"role": 1, "content": "x"}], "a role that is neither user nor assistant"),
    ([{"role": "user"}], "content is not text"),
    ([{"role": "user", "content": None}], "content is not text"),
    ([{"role": "user", "content": 3}], "content is not text"),
    ([{"role": "user", "content": []}], "content is not text"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "a part that is not text"),
    ([{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image"}]}], "a part that is not text"),
    ([{"role": "user", "content": [{"type": "text", "text": None}]}], "a part that is not text"),
    ([{"role": "user", "content": ["x"]}], "a part that is not text"),
    (to_marked("weight", 0.5), "weight is neither 0 nor 1"),
    (to_marked("weight", 2), "weight is neither 0 nor 1"),
    (to_marked("weight", -1), "weight is neither 0 nor 1"),
    (to_marked("weight", "0"), "weight is neither 0 nor 1"),
    (to_marked("train", "false"), "train is neither 0 nor 1"),
    (to_marked("training", []), "training is neither 0 nor 1"),
    (to_marked("loss", 3.2), "loss is neither 0 nor 1"),
    ([{**to_marked("weight", 0)[1], "train": True}], "weight and train contradict each other"),
    (to_marked("train_detail", [{"begin_offset": 0, "end_offset": 3, "train": False}]), "train_detail"),
    ([{"role": "user", "content": "x", "train": True}], "not the doctor's is marked as one to learn"),
    ([{"role": "system", "content": "x", "weight": 1}], "not the doctor's is marked as one to learn"),
    ([*to_marked("weight", 0), *to_marked("weight", 1)[1:]], "several messages is to be learned in part"),
    (["It hurts."], "a message is not an object"),
    ([None], "a message is not an object"),
    ([[]], "a message is not an object"),
    ({"role": "user", "content": "x"}, "not a list"),
    ('{"role": "user", "content": "x"}', "not a list"),
    ('"It hurts."', "not a list"),
    ("null", "not a list"),
    (3.5, "not a list"),
    ("It hurts.", "not JSON"),
    ('[{"role": "user", ', "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("", "not JSON"),
    (to_messages("p:It hurts.", f"d:{HALF}"), "half of a character"),
    (json.dumps(to_messages(f"p:{HALF}", "d:Rest.")), "half of a character"),
    (to_messages("p:It hurts.", f"d:Rest{NUL}."), "a NUL byte"),
    (to_messages("p:a", "d:b", f"p:{'x' * 1_000_001}", "d:c"), "1,000,001 characters"),
]


@pytest.mark.parametrize(("cell", "what"), FAULTS)
def test_conversation_that_cannot_be_read_is_an_error_that_names_its_row(tmp_path: Path, cell: Any, what: str) -> None:
    with pytest.raises(InputError) as caught:
        frame_of(tmp_path, [SHORT, cell])
    where, why = caught.value.what.split(": ", 1)
    assert where.startswith(str(tmp_path / "chats.jsonl"))
    assert "row 1" in where
    assert what in why
    assert "--data.on_bad_row drop" in caught.value.hint
    assert "Jane" not in str(caught.value)  # the content of a message may be private


@pytest.mark.parametrize(("cell", "what"), FAULTS)
def test_conversation_that_cannot_be_read_is_dropped_whole_and_counted(tmp_path: Path, cell: Any, what: str) -> None:
    """Its valid messages too: a partial conversation may end before the doctor's answer."""
    begun = [*SHORT, *cell] if isinstance(cell, list) else cell
    bad = BadRows("drop")
    frame = frame_of(tmp_path, [begun, LONG, cell], bad)
    assert list(zip(frame["question"], frame["answer"], strict=True)) == PAIRS[1:]
    assert frame["row"].tolist() == [1, 1]
    assert bad.count == 2
    for place, row in zip(bad.places, ("row 0", "row 2"), strict=True):
        assert place.startswith("chats.jsonl, ")  # no whole path: it may name a person
        assert row in place
        assert what in place


def test_column_that_holds_no_messages_names_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "chats.csv"
    path.write_text("messages\nIt hurts.\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_all(path)
    assert str(path) in caught.value.what
    assert "its messages are not JSON" in caught.value.what
    assert '"role": "user"' in caught.value.hint


# Preparation


def test_doctor_is_learned_in_every_turn_and_the_patient_in_none(cache: Path, tmp_path: Path) -> None:
    cells = [to_messages("d:Hello!") + chat(number, 1 + number % 3) + to_messages("p:Thanks.") for number in range(60)]
    prepared = prepared_from(write(tmp_path / "chats.parquet", cells))
    assert prepared.report["rows_in"] == prepared.report["rows_out"] == 60
    seen = 0
    for split in SPLITS:
        store = prepared.store(split)
        for row in range(len(store)):
            texts, ids, parts = store.texts(row), store.input_ids(row), store.parts(row)
            number = texts["row"]
            exchanges = [consultation(number * 10 + turn) for turn in range(1 + number % 3)]
            assert (texts["question"], texts["answer"]) == exchanges[0]
            assert prepared.tokenizer.decode(ids[parts == ANSWER]) == "".join(f" {a}{END}" for _, a in exchanges)
            assert prepared.tokenizer.decode(ids[parts == QUESTION]) == "".join(f" {q}" for q, _ in exchanges)
            seen += 1
        table = pq.read_table(prepared.folder / f"{split}.parquet").to_pylist()
        assert [(row["question"], row["answer"]) for row in table] == [
            consultation(row["row"] * 10 + row["turn"]) for row in table
        ]
    assert seen == 60


def test_chunks_without_a_conversation_do_no_harm(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows of a chunk may be bad, or without a reply."""
    monkeypatch.setattr(table_files, "CHUNK", 4)
    cells: list[Any] = [chat(number) for number in range(40)]
    cells[4:8], cells[12:16] = ["not JSON"] * 4, [to_messages("p:Anyone?")] * 4
    path = write(tmp_path / "chats.csv", cells)
    prepared = prepared_from(path, on_bad_row="drop")
    report = prepared.report
    assert (report["rows_in"], report["bad_rows"], report["rules"]["missing"], report["rows_out"]) == (40, 4, 4, 32)
    kept = {prepared.store(s).texts(row)["row"] for s in SPLITS for row in range(len(prepared.store(s)))}
    assert kept == set(range(40)) - {*range(4, 8), *range(12, 16)}
    with pytest.raises(InputError, match=r"row 4.*: its messages are not JSON"):
        prepared_from(path)


def test_exchange_that_a_rule_drops_ends_its_conversation(cache: Path, tmp_path: Path) -> None:
    """The next exchange would refer to one that is missing."""
    cells = [chat(number) for number in range(40)]
    cells[0] = to_messages(
        "p:First?", "d:Rest for a few days then.", "p:Second?", "d: ", "p:Third?", "d:Walk for an hour."
    )
    cells[1] = to_messages("p:Alone?", "d: ", "p:Still?", "d:Walk for an hour or two.")
    prepared = prepared_from(write(tmp_path / "chats.jsonl", cells))
    report = prepared.report
    assert (report["rules"]["blank"], report["shortened"], report["rows_out"]) == (1, 1, 39)
    texts = [row for split in SPLITS for row in pq.read_table(prepared.folder / f"{split}.parquet").to_pylist()]
    assert [text["question"] for text in texts if text["row"] == 0] == ["First?"]
    assert not [text for text in texts if text["row"] == 1]


def test_short_reply_is_dropped_alone_and_kept_within_a_conversation(cache: Path, tmp_path: Path) -> None:
    """A doctor's question is short."""
    cells = [chat(number) for number in range(40)]
    cells[0], cells[1] = (
        to_messages("p:It hurts.", "d:Where?", "p:Here.", "d:Rest it."),
        to_messages("p:It itches.", "d:Where?"),
    )
    prepared = prepared_from(write(tmp_path / "chats.jsonl", cells))
    assert (prepared.report["rules"]["too_short"], prepared.report["rows_out"]) == (1, 39)
    texts = [row for split in SPLITS for row in pq.read_table(prepared.folder / f"{split}.parquet").to_pylist()]
    assert [text["answer"] for text in texts if text["row"] < 2] == ["Where?", "Rest it."]


def test_conversations_that_begin_alike_and_go_on_differently_are_no_duplicates(cache: Path, tmp_path: Path) -> None:
    """Nor are conversations whose joined texts are equal; but they share the first question and so the split."""
    cells = [chat(number) for number in range(40)]
    cells += [
        [*chat(0), *to_messages("p:And then?", "d:Walk for an hour.")],
        chat(1),
        to_messages("p:a\nb", "d:c"),
        chat(0, 1),
    ]
    prepared = prepared_from(write(tmp_path / "chats.jsonl", cells), rules={"too_short": False})
    assert (prepared.report["rules"]["duplicate"], prepared.report["rows_out"]) == (1, 43)
    sides = {
        texts["row"]: (split, texts["group"])
        for split in SPLITS
        for store in [prepared.store(split)]
        for texts in map(store.texts, range(len(store)))
    }
    assert sides[0] == sides[40] == sides[43]
    assert 41 not in sides


@pytest.mark.parametrize("reply", ['{"sugar": 5}', "[1]", "['Rest.', 'Walk.']"])
def test_a_reply_that_looks_like_a_list_is_a_text(tmp_path: Path, reply: str) -> None:
    frame = frame_of(tmp_path, [to_messages("p:It hurts.", f"d:{reply}")])
    assert frame[["question", "answer"]].to_numpy().tolist() == [["It hurts.", reply]]
