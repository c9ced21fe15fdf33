"""Every row is read as written, or reported: none is lost, guessed or cut silently."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas._libs.parsers import STR_NA_VALUES

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.sources import table_files
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.cell_values import is_list
from lightning_med.data.sources.source import Source
from lightning_med.data.sources.source_files import find_files
from lightning_med.data.sources.source_reader import read_frames
from lightning_med.utils.errors import InputError

MISSING = {*STR_NA_VALUES} - {""}  # what `pandas.read_csv` takes for a missing value
GOOD = [(f"question {number}", f"answer {number}") for number in range(6)]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=40).filter(
    lambda text: text.strip() not in MISSING and not is_list(text)
)


def rows_of(path: Path, policy: Any = "error", **columns: str) -> tuple[list[tuple[int, str, str]], BadRows]:
    """Reads row, question and answer of all rows, and counts the bad ones."""
    bad = BadRows(policy)
    source = Source(str(path), **{"question_column": "input", "answer_column": "output", **columns})
    frame = pd.concat(
        [pd.DataFrame(), *(frame for file in find_files(str(path)) for frame in read_frames(source, file, bad))]
    )
    return [tuple(row) for row in frame[["row", "question", "answer"]].to_numpy().tolist()] if len(frame) else [], bad


def refusal(path: Path, policy: Any = "error", **columns: str) -> InputError:
    with pytest.raises(InputError) as caught:
        rows_of(path, policy, **columns)
    assert "\n" not in caught.value.what
    assert caught.value.hint
    return caught.value


def as_csv(path: Path, rows: list[tuple[str, str]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([("input", "output"), *rows])
    return path


def as_jsonl(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = (json.dumps({"input": question, "output": answer}, ensure_ascii=False) for question, answer in rows)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def as_json(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text(json.dumps([{"output": answer, "input": question} for question, answer in rows]))
    return path


def as_parquet(path: Path, rows: list[tuple[str, str]]) -> Path:
    pq.write_table(pa.table({"input": [row[0] for row in rows], "output": [row[1] for row in rows]}), path)
    return path


WRITERS: dict[str, Callable[[Path, list[tuple[str, str]]], Path]] = {
    "a.csv": as_csv,
    "a.tsv": lambda path, rows: as_csv(path, rows, "\t"),
    "a.json": as_json,
    "a.jsonl": as_jsonl,
    "a.parquet": as_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12), chunk=st.integers(1, 5))
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, rows: list[tuple[str, str]], chunk: int
) -> None:
    path = WRITERS[name](tmp_path_factory.mktemp("table") / name, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_files, "CHUNK", chunk)
        assert rows_of(path)[0] == [(number, *row) for number, row in enumerate(rows)]


# Quotes


def test_quote_left_open_is_named_in_the_middle_and_at_the_end(tmp_path: Path) -> None:
    """A reader that is not strict returns one cell that contains the following rows."""
    path = tmp_path / "a.csv"
    whole = ["input,output", "a,b", "c,d", '"e, e",f', "g,h", '"i, i",j', "k,l"]
    for line in range(1, len(whole)):
        lines = list(whole)
        lines[line] = '"left open,x'
        path.write_text("\n".join(lines))
        for policy in ("error", "drop"):  # where the row ends is not known, so it cannot be left out
            error = refusal(path, policy)
            assert f"{path}, line {line + 1}: a quote" in error.what
            assert "quote" in error.hint


def test_quote_left_open_before_rows_with_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('input,output\n"two\nlines","and\nmore"\n"left open,x\n"two\nlines",y\n')
    assert f"{path}, line 5:" in refusal(path).what


def test_quotes_within_a_cell_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('input,output\nI am 6\' 2" tall,"say ""ah"" twice"\n')
    assert rows_of(path)[0] == [(0, "I am 6' 2\" tall", 'say "ah" twice')]


def test_text_behind_a_closing_quote_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('input,output\na,b\n"he said "ah" twice",c\n')
    assert f"{path}, line 3: a quote closes here in the middle of a cell" in refusal(path).what


# Bad rows among good ones


@pytest.mark.parametrize(("sign", "what"), [("\t", "tabs"), (";", "';'"), ("|", "'|'")])
def test_other_separators(tmp_path: Path, sign: str, what: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"input{sign}output\nI cough.{sign}Rest.\n")
    assert f"separated by {what}" in refusal(path).what


def test_a_space_in_a_columns_name_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id, input,output\n1,I cough.,Rest.\n")
    error = refusal(path)
    assert "It has: id, ' input', output." in error.what
    assert error.hint.endswith("--data.question_column ' input'")


@pytest.mark.parametrize("policy", ["error", "drop"])
def test_a_record_of_several_lines_is_never_dropped_as_one_row(tmp_path: Path, policy: str) -> None:
    """A quote that is closed rows later may contain whole rows."""
    path = tmp_path / "a.csv"
    path.write_text('input,output\nq0,a0\n"q1,a1\nq2,a2\nq3",a3,x\nq4,a4\n')
    assert f"{path}, lines 3 to 5 (row 1): 3 cells where the header has 2" in refusal(path, policy).what


def test_long_cells_come_in_smaller_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "_MAX_CHARACTERS", 1_000)
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *[("q" * 300, f"a{row}") for row in range(10)]])
    frames = list(table_files.read_table(path, {"question_column": "input", "answer_column": "output"}, BadRows()))
    assert [len(frame) for frame in frames] == [4, 4, 2]
    assert [row for frame in frames for row in frame["row"]] == list(range(10))
    assert [line for frame in frames for line in frame["line"]] == list(range(2, 12))


def csv_line(line: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = as_csv(folder / "a.csv", GOOD)
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"\n".join([*lines[:4], line, *lines[4:]]))
        return path

    return make


def jsonl_line(line: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = as_jsonl(folder / "a.jsonl", GOOD)
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"\n".join([*lines[:3], line, *lines[3:]]))
        return path

    return make


def parquet_cell(cell: Any, kind: pa.DataType) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        words = [question for question, _ in GOOD]
        known = words if kind in (pa.string(), pa.binary()) else [[word] for word in words]
        answers = [answer for _, answer in GOOD]
        column = pa.array([*known[:3], cell, *known[3:]], pa.binary() if kind == pa.string() else kind)
        column = pa.Array.from_buffers(kind, len(column), column.buffers()) if kind == pa.string() else column
        pq.write_table(pa.table({"input": column, "output": [*answers[:3], "x", *answers[3:]]}), folder / "a.parquet")
        return folder / "a.parquet"

    return make


BAD = {
    "too few cells": (csv_line(b"question"), "1 cell where the header has 2"),
    "too many cells": (csv_line(b"question,an answer, with a comma"), "3 cells where the header has 2"),
    "nothing but spaces": (csv_line(b"  "), "1 cell where the header has 2"),
    "Latin-1": (csv_line("café,answer".encode("latin1")), "not UTF-8"),
    "Windows-1252": (csv_line("question,it’s".encode("cp1252")), "not UTF-8"),
    "NUL": (csv_line(b"question,ans\x00wer"), "NUL"),
    "5 MB": (csv_line(b"question," + b"ab " * 1_700_000), "a cell of 5,100,000 characters"),
    "1 MB of two bytes each": (csv_line(b"question," + "é".encode() * 600_000), "a cell of 600,000"),
    "lone surrogate": (jsonl_line(rb'{"input": "pain \ud800", "output": "rest"}'), "lone surrogate"),
    "JSON NUL": (jsonl_line(rb'{"input": "pain \u0000", "output": "rest"}'), "NUL"),
    "JSON Latin-1": (jsonl_line('{"input": "café", "output": "rest"}'.encode("latin1")), "not UTF-8"),
    "half a record": (jsonl_line(b'{"input": "pain", "outp'), "Invalid control character"),
    "no object": (jsonl_line(b'["pain", "rest"]'), "not a JSON object"),
    "number": (jsonl_line(b'{"input": "pain", "output": 3}'), "int, not text"),
    "JSON 5 MB": (jsonl_line(b'{"input": "pain", "output": "' + b"x" * 5_000_000 + b'"}'), "a cell of 5,000,000"),
    "too deep": (jsonl_line(b'{"input": ' + b"[" * 100_000), ""),
    "long number": (jsonl_line(b'{"input": "pain", "output": ' + b"1" * 5_000 + b"}"), ""),
    "Parquet Latin-1": (parquet_cell("café".encode("latin1"), pa.string()), "not UTF-8"),
    "Parquet 2 MB": (parquet_cell(b"x" * 2_000_000, pa.string()), "a cell of 2,000,000"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_row_is_named_or_dropped_and_the_others_keep_their_numbers(tmp_path: Path, kind: str) -> None:
    make, what = BAD[kind]
    path = make(tmp_path)
    error = refusal(path)
    assert str(path) in error.what
    assert "row 3" in error.what
    assert what in error.what
    assert len(error.what) < len(str(path)) + 200
    assert "--data.on_bad_row drop" in error.hint
    rows, bad = rows_of(path, "drop")
    assert rows == [(number + (number > 2), *row) for number, row in enumerate(GOOD)]
    assert bad.count == 1
    assert len(bad.places) == 1
    assert "row 3" in bad.places[0]
    assert str(tmp_path) not in bad.places[0]


@pytest.mark.parametrize("kind", [pa.binary(), pa.list_(pa.string())])
def test_column_of_another_kind_than_text(tmp_path: Path, kind: pa.DataType) -> None:
    path = parquet_cell(b"x" if kind == pa.binary() else ["x"], kind)(tmp_path)
    error = refusal(path)
    assert f"{path}, row 0: a cell holds a " in error.what
    assert "not text" in error.what


def test_cell_of_a_megabyte_is_still_read(tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv", [("x" * 1_000_000, "y")])
    assert rows_of(path)[0] == [(0, "x" * 1_000_000, "y")]


def test_many_bad_rows_are_counted_and_a_few_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("input,output\n" + "a,b\nc\n" * 100)
    rows, bad = rows_of(path, "drop")
    assert [row for row, *_ in rows] == list(range(0, 200, 2))
    assert bad.count == 100
    assert 0 < len(bad.places) < 10


def test_other_columns_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"input,note,output\na,caf\xe9\x00,b\n")
    assert rows_of(path)[0] == [(0, "a", "b")]


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n\ninput,output\n\na,b\n\n\nc,d\n\n")
    (tmp_path / "a.jsonl").write_text('\n{"input": "a", "output": "b"}\n\n  \n{"input": "c", "output": "d"}\n\n')
    for name in ("a.csv", "a.jsonl"):
        assert rows_of(tmp_path / name)[0] == [(0, "a", "b"), (1, "c", "d")]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_key_may_be_missing_from_a_whole_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(table_files, "CHUNK", 2)
    records = ['{"input": "a", "output": "b"}', '{"input": "c"}', '{"input": "d"}']
    (tmp_path / name).write_text("\n".join(records) if name == "a.jsonl" else f"[{','.join(records)}]")
    assert rows_of(tmp_path / name)[0] == [(0, "a", "b"), (1, "c", None), (2, "d", None)]


# Files that cannot be read at all


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json"])
def test_another_encoding_is_recognized(tmp_path: Path, name: str, encoding: str) -> None:
    path = WRITERS[name](tmp_path / name, GOOD)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    error = refusal(path)
    assert str(path) in error.what
    if name != "a.json" or encoding != "utf-16-le":  # valid UTF-8 with NULs, so the JSON parser refuses it
        assert "UTF-8" in error.what
        assert "iconv" in error.hint


def test_another_encoding_of_lines_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    path = as_jsonl(tmp_path / "a.jsonl", GOOD)
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))
    assert "row 0" in refusal(path).what
    with pytest.raises(InputError, match="unreadable"):
        prepare(DialogueDataModule(str(path), "train", 300, on_bad_row="drop").recipe)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_ten_thousand_columns(tmp_path: Path, name: str) -> None:
    names = [f"column {number} " + "x" * 100 for number in range(9_998)]
    cells = {**dict.fromkeys(names, "1"), "input": "a", "output": "b"}
    path = tmp_path / name
    if name == "a.csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([cells.keys(), cells.values()])
    else:
        path.write_text(json.dumps(cells))
    assert rows_of(path)[0] == [(0, "a", "b")]
    error = refusal(path, answer_column="reply")
    assert "no column 'reply'" in error.what
    assert "10,000 in all" in error.what
    assert len(error.what) < 1_200


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("input,output,output\na,b,c\n")
    assert "2 columns named 'output'" in refusal(tmp_path / "a.csv").what
    (tmp_path / "b.csv").write_text("note,input,note,output\nx,a,y,b\n")
    assert rows_of(tmp_path / "b.csv")[0] == [(0, "a", "b")]
    pq.write_table(pa.table([["a"], ["b"], ["c"]], names=["input", "input", "output"]), tmp_path / "a.parquet")
    assert "2 columns named 'input'" in refusal(tmp_path / "a.parquet").what


def test_file_of_a_folder_with_other_columns_is_named(tmp_path: Path) -> None:
    as_csv(tmp_path / "a.csv", GOOD)
    (tmp_path / "b.csv").write_text("question,answer\na,b\n")
    error = refusal(tmp_path)
    assert f"{tmp_path / 'b.csv'} has no column 'input'" in error.what


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 but no more", b"input,output\na,b\n"])
def test_what_is_no_parquet_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    assert f"{tmp_path / 'a.parquet'} is damaged or not a Parquet file" in refusal(tmp_path / "a.parquet").what


def test_json_that_python_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for cell in ("[" * 100_000, "1" * 5_000):
        path.write_text(f'[{{"input": "a", "output": {cell}')
        assert str(path) in refusal(path).what


def test_group_may_be_any_cell(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [f"question number {n} of many?,Please rest it for {n} days.,".encode() + b"n\xe9" for n in range(12)]
    path.write_bytes(b"\n".join([b"input,output,patient", *lines[:6], *(line + b"x" for line in lines[6:])]))
    module = DialogueDataModule(str(path), "train", 300, group_column="patient", test_fraction=0.5, val_fraction=0.0)
    assert module.prepared.report["groups"] == 2
