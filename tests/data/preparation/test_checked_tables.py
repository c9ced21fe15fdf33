"""Rows that equal or nearly equal those of a table that is checked against are in no split, and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lightning_med.data.leaks.leak_search import IN_CHECKED_TABLE, describe_leaks
from lightning_med.data.preparation import pipeline
from lightning_med.data.preparation.pipeline import Prepared, prepare
from lightning_med.data.report.data_report import print_report, write_report
from lightning_med.data.sources import table_files
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.utils.errors import InputError
from tests.conftest import consultation
from tests.data.preparation.helpers import recipe, write
from tests.data.preparation.test_private_data import PRIVATE

LONG = " ".join(f"take {word} tablets and then" for word in ("one", "two", "three", "four", "five", "six", "ten"))
OTHER = "A new doctor wrote this answer for the public test."


@pytest.fixture
def source(cache: Path, tmp_path: Path) -> Path:
    """60 rows; the last ones have a long answer, and one that is too short to count."""
    rows = [consultation(number) for number in range(58)]
    rows += [(consultation(58)[0], f"{LONG} rest."), (consultation(59)[0], "Please see a doctor now.")]
    return write(tmp_path / "ours.csv", rows)


def texts_of(prepared: Prepared) -> list[tuple[str, str]]:
    stores = [prepared.store(split) for split in SPLITS]
    texts = [store.texts(row) for store in stores for row in range(len(store))]
    return [(text["question"], text["answer"]) for text in texts]


def checked(source: Path, *tables: Path, **changes: Any) -> tuple[Prepared, dict[str, Any]]:
    prepared = prepare(recipe(source, check_against=[str(table) for table in tables], **changes))
    return prepared, prepared.report["checked_against"]


def test_equal_and_nearly_equal_rows_are_in_no_split(source: Path, tmp_path: Path) -> None:
    near = consultation(5)[0].replace("What should I do?", "what should I do!!")
    nearer = f"Well, {consultation(6)[0]}"
    rows = [consultation(4), (near, OTHER), (nearer, OTHER), ("Is it bad?", f"So {LONG.upper()} rest!")]
    rows += [("My ear?", "Please see a doctor now."), (consultation(900)[0], OTHER)]
    table = write(tmp_path / "test.csv", rows)
    prepared, found = checked(source, table)
    left = texts_of(prepared)
    assert sorted(left) == sorted([*map(consultation, (*range(4), *range(7, 58))), *texts_of_last()])
    digest = sha256(table.read_bytes()).hexdigest()
    file = {"rows": 6, "digest": digest, "questions": 3, "answers": 1, "bad_rows": 0}
    assert (found["files"], found["left_out"]) == ({"test.csv": file}, 4)
    assert prepared.report["rules"][IN_CHECKED_TABLE] == 4
    assert prepared.report["effects"][IN_CHECKED_TABLE] == "dropped"
    assert prepared.report["rows_out"] == sum(prepared.report["splits"].values()) == 56
    places = [(example["column"], example["row"], example["table_row"]) for example in found["examples"]]
    assert places == [("question", 4, 0), ("question", 5, 1), ("question", 6, 2), ("answer", 58, 3)]
    assert found["examples"][3]["text"].startswith("take one tablets")
    line = describe_leaks(prepared.report)
    assert line == (
        "check_against: 4 rows left out of all splits. test.csv (6 rows): 3 equal or nearly equal questions, 1 answers."
    )


def texts_of_last() -> list[tuple[str, str]]:
    return [(consultation(59)[0], "Please see a doctor now.")]


def test_rows_of_every_split_are_left_out(source: Path, tmp_path: Path) -> None:
    before = prepare(recipe(source, test_fraction=0.3, val_fraction=0.3))
    firsts = [before.store(split).texts(0) for split in SPLITS]
    table = write(tmp_path / "test.csv", [(text["question"], OTHER) for text in firsts])
    after, found = checked(source, table, test_fraction=0.3, val_fraction=0.3)
    assert found["left_out"] == 3
    assert [before.report["splits"][split] - after.report["splits"][split] for split in SPLITS] == [1, 1, 1]


def test_each_table_is_counted(source: Path, tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", [consultation(4), consultation(5)])
    two = write(tmp_path / "two.csv", [consultation(5), consultation(5), consultation(7)])
    _, found = checked(source, one, two)
    counts = {name: (file["rows"], file["questions"]) for name, file in found["files"].items()}
    assert counts == {"one.csv": (2, 2), "two.csv": (3, 2)}
    assert found["left_out"] == 3
    assert sorted((example["table"], example["row"]) for example in found["examples"]) == [
        ("one.csv", 4),
        ("one.csv", 5),
        ("two.csv", 5),
        ("two.csv", 7),
    ]


def test_a_duplicate_is_counted_as_one(cache: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "ours.csv", [*map(consultation, range(30)), consultation(3)])
    prepared, found = checked(source, write(tmp_path / "test.csv", [consultation(3)]))
    assert (prepared.report["rules"]["duplicate"], found["left_out"]) == (1, 1)
    assert found["files"]["test.csv"]["questions"] == 1


def test_both_are_repaired_and_masked_alike(cache: Path, tmp_path: Path) -> None:
    """A copy of a row is found whatever the rules do to ours; those of a test need not be valid."""
    question = "<p>Hello, my name is Jane Roe. I don t sleep,and it s worse &amp; worse since Monday. Why is that?</p>"
    source = write(tmp_path / "ours.csv", [*map(consultation, range(30)), (question, "Rest and drink warm tea.")])
    for private_data in (True, False):
        for row in ((question, ""), (question, "No."), (question.replace("Jane Roe", "[NAME]"), "No.")):
            expected = int(private_data or "Jane" in row[0])
            _, found = checked(source, write(tmp_path / "test.csv", [row]), private_data=private_data)
            assert found["left_out"] == expected


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("t.csv", ("input", "output")),
        ("t.tsv", ("question", "answer")),
        ("t.json", ("Question", "LONG_ANSWER")),
        ("t.jsonl", ("prompt", "completion")),
        ("t.parquet", ("query", "response")),
        ("t.csv", ("QUESTION", "")),
    ],
)
def test_tables_of_any_format_and_the_usual_columns(
    source: Path, tmp_path: Path, name: str, columns: tuple[str, str]
) -> None:
    frame = pd.DataFrame({columns[0]: [consultation(3)[0], "Why?"], "id": [1, 2]})
    if columns[1]:
        frame[columns[1]] = [OTHER, f"{LONG} rest."]
    path = tmp_path / name
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix.startswith(".json"):
        frame.to_json(path, orient="records", lines=path.suffix == ".jsonl")
    else:
        frame.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    _, found = checked(source, path)
    file = found["files"][name]
    assert (file["questions"], file["answers"]) == (1, int(bool(columns[1])))


def write_chats(path: Path, conversations: list[list[str]], column: str) -> Path:
    rows = [
        {column: [{"role": ("user", "assistant")[turn % 2], "content": text} for turn, text in enumerate(texts)]}
        for texts in conversations
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_conversations(source: Path, cache: Path, tmp_path: Path) -> None:
    """The first question counts, and every later turn that is long."""
    chats = [[*consultation(100 + number), "Thanks a lot.", "You are welcome, see you."] for number in range(20)]
    chats[7][2:] = ["And then?", f"{LONG} rest."]
    chats[9][2:] = [f"I {LONG} rest.", "You are welcome, see you."]
    ours = write_chats(tmp_path / "ours.jsonl", chats, "chat")
    theirs = [[consultation(105)[0], OTHER], ["Why?", OTHER, "Thanks a lot.", "Fine."]]
    table = write_chats(tmp_path / "test.jsonl", [*theirs, ["How?", OTHER, "So?", f"{LONG} rest"]], "messages")
    found = checked(ours, table, messages_column="chat")[1]
    assert (found["files"]["test.jsonl"]["questions"], found["files"]["test.jsonl"]["answers"]) == (1, 1)
    assert (found["files"]["test.jsonl"]["rows"], found["left_out"]) == (3, 2)
    assert [example["row"] for example in found["examples"]] == [5, 7]
    assert found["examples"][1]["text"].startswith("take one")
    table = write(tmp_path / "test.csv", [(f"I {LONG} rest.", OTHER)])
    found = checked(ours, table, messages_column="chat")[1]
    assert [example["row"] for example in found["examples"]] == [9]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("id,text,label\n1,a,b\n", "has no column of questions that is known. It has: id, label, text."),
        ("input,output\n", "holds no row"),
        ("", "is empty"),
        ('input,output\n"a,b\n', "does not close"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(source: Path, tmp_path: Path, content: str, fault: str) -> None:
    table = tmp_path / "test.csv"
    table.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="test") as refused:
        checked(source, table)
    assert fault in str(refused.value)


def test_unreadable_rows_are_an_error_or_counted(source: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "test.csv", [consultation(3), ("['a', 'list']", OTHER)])
    with pytest.raises(InputError, match="on_bad_row"):
        checked(source, table)
    _, found = checked(source, table, on_bad_row="drop")
    assert (found["files"]["test.csv"]["rows"], found["files"]["test.csv"]["bad_rows"], found["left_out"]) == (1, 1, 1)


def test_places_that_cannot_be_checked_against(source: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "test.csv", [consultation(3)])
    for places, fault in (
        ([source], "named by --data.source and by --data.check_against"),
        ([table, table], "named twice by --data.check_against"),
        ([tmp_path / "absent.csv"], "absent.csv: no such file"),
    ):
        with pytest.raises(InputError, match=fault):
            checked(source, *places)
    everything = write(tmp_path / "copy.csv", [*map(consultation, range(58)), (f"{consultation(58)[0]} ", "Rest.")])
    everything.write_text(everything.read_text() + f'"{consultation(59)[0]}",Rest.\n')
    with pytest.raises(InputError, match="60 in_checked_table"):
        checked(source, everything)


def test_another_content_is_another_preparation_and_another_place_is_not(source: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "test.csv", [consultation(3)])
    first, _ = checked(source, table)
    plain = prepare(recipe(source))
    assert plain.report["checked_against"] is None
    assert describe_leaks(plain.report) is None
    assert IN_CHECKED_TABLE not in plain.report["rules"]
    (tmp_path / "moved").mkdir()
    again, found = checked(source, table.rename(tmp_path / "moved" / "test.csv"))
    assert (again.cached, again.fingerprint) == (True, first.fingerprint)
    assert found["left_out"] == 1
    other, found = checked(source, write(table, [consultation(3), consultation(4)]))
    assert (other.cached, found["left_out"]) == (False, 2)
    assert len({first.fingerprint, other.fingerprint, plain.fingerprint}) == 3


def test_a_table_that_changes_while_it_is_read_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, clean_rows = write(tmp_path / "test.csv", [consultation(3)]), pipeline.clean_rows

    def clean_and_change(*given: Any) -> None:
        clean_rows(*given)
        write(table, [consultation(4)])

    monkeypatch.setattr(pipeline, "clean_rows", clean_and_change)
    with pytest.raises(InputError, match="changed while it was read"):
        checked(source, table)


def test_the_number_of_processes_changes_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write(tmp_path / "test.csv", [consultation(number) for number in (3, 9, 40, 57)])
    one, found = checked(source, table)
    monkeypatch.setenv("LIGHTNING_MED_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(pipeline, "_SMALL", 0)
    monkeypatch.setattr(pipeline, "count_cores", lambda: 2)
    monkeypatch.setattr(table_files, "CHUNK", 7)
    two, found_by_two = checked(source, table)
    assert found == found_by_two
    assert texts_of(one) == texts_of(two)


def test_the_report_shows_it_without_private_data(private_rows: Path, cache: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(private_rows)
    table = tmp_path / "test<b>.csv"
    frame.iloc[[60, 61, 70]].to_csv(table, index=False)
    for private_data in (True, False):
        prepared, found = checked(private_rows, table, private_data=private_data)
        assert found["left_out"] == len(found["examples"]) == 3
        write_report(prepared, tmp_path / "report")
        written = (tmp_path / "report" / "report.html").read_text() + (tmp_path / "report" / "report.json").read_text()
        assert "Checked against other tables" in written
        assert "test<b>" not in (tmp_path / "report" / "report.html").read_text()
        assert not [word for word in PRIVATE if word in written]
        print_report(prepared)


def test_own_splits_are_checked_too(cache: Path, tmp_path: Path, consultations: Callable[..., Path]) -> None:
    for name, first in (("train", 0), ("validation", 40), ("test", 60)):
        consultations(20, f"set/{name}.csv", first)
    table = write(tmp_path / "public.csv", [consultation(number) for number in (3, 45, 66, 67)])
    prepared, found = checked(tmp_path / "set", table)
    assert found["left_out"] == 4
    assert prepared.report["splits"] == {"train": 19, "validation": 19, "test": 18}
