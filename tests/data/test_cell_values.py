"""Cells mean what their owner means: missing values, lists that were written as text, numbers of patients."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas._libs.parsers import STR_NA_VALUES

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.cell_values import blank_missing, is_list, normalize_group
from lightning_med.data.sources.source import Source
from lightning_med.data.sources.source_reader import read_frames
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.utils.errors import InputError
from tests.conftest import consultation
from tests.written_tables import SUFFIXES
from tests.written_tables import write_records as write

CSV, PARQUET = Path("a.csv"), Path("a.parquet")
MISSING = {*STR_NA_VALUES} - {""}
CELLS = st.one_of(st.text(max_size=20), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())


def read(path: Path, policy: Any = "error", **columns: str) -> tuple[pd.DataFrame, BadRows]:
    bad = BadRows(policy)
    source = Source(str(path), "input", "output", **columns)
    return pd.concat([pd.DataFrame(), *read_frames(source, path, bad)]), bad


# Missing values


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_what_pandas_takes_for_missing_is_missing_in_a_table_of_text(tmp_path: Path, suffix: str) -> None:
    rows = [(word, "Rest.") for word in sorted(MISSING)] + [("I cough.", f" {word} ") for word in sorted(MISSING)]
    frame, _ = read(write(tmp_path / f"a{suffix}", [*rows, ("", "Rest."), ("I cough.", "")]))
    assert frame["question"].isna().tolist() == [True] * len(MISSING) + [False] * len(MISSING) + [True, False]
    assert frame["answer"].isna().tolist() == [False] * len(MISSING) + [True] * len(MISSING) + [False, True]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_what_pandas_writes_for_missing_is_missing_where_a_format_has_null(tmp_path: Path, suffix: str) -> None:
    words = ["nan", "NaN", "<NA>", "None", " nan ", "null", "n/a", "NULL", "NA"]
    frame, _ = read(write(tmp_path / f"a{suffix}", [("I cough.", word) for word in words]))
    assert frame["answer"].isna().tolist() == [True] * 5 + [False] * 4


@given(st.text(max_size=30), st.sampled_from([CSV, PARQUET]))
def test_no_other_text_is_missing(text: str, path: Path) -> None:
    assert blank_missing([text], path) == [None if text.strip() in MISSING else text] or path == PARQUET
    assert blank_missing([f"{text}, nan"], path) == [f"{text}, nan"]


@pytest.mark.parametrize("path", [CSV, PARQUET])
def test_texts_with_such_words_and_other_values_are_kept(path: Path) -> None:
    cells = ["None of it.", "No.", "none", "NANA", "Null finding.", "0", "", 7, ["nan"], None]
    assert blank_missing(cells, path) == cells


def test_rows_with_missing_words_are_dropped_as_missing(cache: Path, tmp_path: Path) -> None:
    rows = [consultation(number) for number in range(40)]
    rows[3], rows[5] = ("nan", rows[3][1]), (rows[5][0], "N/A")
    prepared = prepare(DialogueDataModule(str(write(tmp_path / "a.csv", rows)), "train", 400).recipe)
    assert (prepared.report["rules"]["missing"], prepared.report["rows_out"]) == (2, 38)


# Lists written as text

LISTS = [
    "['Please rest', 'Drink water.']",
    '["Please rest", "Drink water."]',
    "[\"Don't rest\", 'Walk']",
    "['Please rest'\n 'Drink water.']",  # as NumPy writes an array
    "[]",
    "[null, 3]",
    "{'answer': 'Rest.'}",
    '{"answer": ["Rest."]}',
    "{'Rest.', 'Walk.'}",
    ' [{"role": "user", "content": "It hurts."}]\n',
    "\u3000['Rest.']\xa0",
]
TEXTS = [
    "[PHONE] Call me.",
    "[PHONE]",
    "[NAME], call [PHONE]",
    "[sic]",
    "{unclear}",
    "[1] Rest. [2] Walk",
    "[rest, walk]",
    "[Doctor: rest; it's fine]",
    "['Rest.'] is what he said.",
    "Take one of ['a', 'b']",
    "[" * 5_000 + "]",
    "[" * 5_000 + "]" * 5_000,
    "[\\d]",
    "()",
    "",
]


@pytest.mark.parametrize("text", LISTS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_list_written_as_text_is_a_bad_row(tmp_path: Path, suffix: str, text: str) -> None:
    for row in ((text, "Rest."), ("I cough.", text)):
        path = write(tmp_path / f"a{suffix}", [("I ache.", "Walk."), row, ("I sneeze.", "Sleep.")])
        with pytest.raises(InputError) as caught:
            read(path)
        assert "row 1" in caught.value.what
        assert "a list or an object, written as text" in caught.value.what
        assert "--data.messages_column" in caught.value.hint
        assert "--data.on_bad_row drop" in caught.value.hint
        frame, bad = read(path, "drop")
        assert (frame["question"].tolist(), bad.count) == (["I ache.", "I sneeze."], 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_text_with_brackets_is_a_text(tmp_path: Path, suffix: str) -> None:
    texts = [text for text in TEXTS if text]
    frame, _ = read(write(tmp_path / f"a{suffix}", [(text, text) for text in texts]))
    assert frame["question"].tolist() == frame["answer"].tolist() == texts


@given(st.lists(CELLS, max_size=4) | st.dictionaries(st.text(max_size=5), CELLS, max_size=3))
def test_any_list_as_python_or_json_writes_it_is_found(value: Any) -> None:
    assert is_list(repr(value))
    assert is_list(f" {json.dumps(value)}\n")


@given(st.text(st.characters(categories=["L", "P", "Z"]), max_size=20))
def test_words_in_brackets_are_no_list(text: str) -> None:
    assert not is_list(f"[PHONE{text} now]")
    assert not is_list(f"{{a {text}")


# Patients


@pytest.mark.parametrize("cell", ["7", "7.0", "7.00", "7.", " 7 ", "+7", 7, 7.0, Decimal("7.00")])
def test_a_number_is_one_however_it_is_written(cell: Any) -> None:
    assert normalize_group(cell) == "7"


@pytest.mark.parametrize(
    ("cell", "group"),
    [
        ("007", "007"),
        ("7.5", "7.5"),
        (7.5, "7.5"),
        ("7a", "7a"),
        ("Smith", "Smith"),
        ("smith ", "smith"),
        ("-3.0", "-3"),
        (-0.0, "0"),
        (1e16, "10000000000000000"),
        ("1e5", "1e5"),
        (True, "True"),
        ("1.0.0", "1.0.0"),
        ("7,0", "7,0"),
        ("", None),
        ("  ", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_other_values_of_a_group_are_text(cell: Any, group: str | None) -> None:
    assert normalize_group(cell) == group


@given(st.integers())
def test_whole_numbers_and_fractions_of_zero_are_one(number: int) -> None:
    assert normalize_group(number) == normalize_group(f"{number}.0") == normalize_group(f" {number} ") == str(number)


def test_one_patient_in_files_that_write_the_number_differently_is_on_one_side(cache: Path, tmp_path: Path) -> None:
    """A table with an empty cell has its whole numbers written as fractions."""
    names, files = ("input", "output", "patient"), []
    for part, (suffix, kind) in enumerate([(".csv", str), (".tsv", float), (".jsonl", int), (".parquet", float)]):
        rows = [(*consultation(20 * part + number), kind(number)) for number in range(20)]
        files.append(str(write(tmp_path / f"part{part}{suffix}", rows, names)))
    settings: dict[str, Any] = {"test_fraction": 0.4, "val_fraction": 0.2, "group_column": "patient"}
    prepared = prepare(DialogueDataModule(list(files), "train", 400, **settings).recipe)
    sides: dict[int, set[str]] = {}
    for split in SPLITS:
        store = prepared.store(split)
        for row in range(len(store)):
            sides.setdefault(store.texts(row)["row"], set()).add(split)
    assert len(sides) == prepared.report["groups"] == 20
    assert all(len(side) == 1 for side in sides.values())


def test_rows_whose_patient_is_missing_are_of_no_patient(tmp_path: Path) -> None:
    rows = [("I cough.", "Rest.", cell) for cell in ("nan", "N/A", "", "7", "NA")]
    frame, _ = read(write(tmp_path / "a.csv", rows, ("input", "output", "patient")), group_column="patient")
    assert frame["group"].tolist() == [None, None, None, "7", "NA"]
