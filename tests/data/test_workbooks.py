"""Workbooks are read as the same table in CSV is, cells as a person sees them."""

from __future__ import annotations

import base64
import csv
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.pipeline import prepare
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.formats import workbook_reader
from lightning_med.data.sources.table_files import read_records
from lightning_med.data.sources.table_places import find_repeated
from lightning_med.utils.errors import InputError
from tests.data.test_sources import ROWS, frame_of, refusal, texts
from tests.data.test_table_files import rows_of
from tests.written_tables import Day, write_archive, write_workbook

XLS = (  # id, input, output: 7, 8.5; written by xlwt 1.3
    "c-rk)O=uHA6#izDv`J{wq(4F{gr#8B8Uo_QOB*d}5wXNx6cKcrEH)%$OS(DKgH~&fg5XK<Qs~7?)r&vqL2n*}iXH?(NcHGRQ1H-Z"
    "ee-rVrnQF#wD_~%GH>6!nYZ(H-kUc&`)Vmxoxk6=jCB}>4>c=<mIj%i5^^h1P`hPG*1ZR*SRVc=go5PAmH?i#zigF0l>T0Zf_whw"
    "M1c=f&R_~-Mp0L{5F>1ZCZr8RL<Me>B!XVHs*`DkX&2MG-18~Z11!15bcp&^#c3?1#s>F0QG812=e7vsb04zKJC^K44_?S9zI0vK"
    "eFHdH%4vl^vmx$p!ve@}qk2&<X@x4f$$<;_YN@~%ccng4J^9wk1xWsFt-N&u`3=Pn%)&ay0bZe;+T*tqX<9RLdeNL-K~egb3k7H{"
    "8z54gDx0)Ujj~A$E#ISR#weekOsH8SV;ZGo7&uhQ74xd8YsrXg*D{lOGCZPX3o|4T<Iph;ldS1dRa)Eys%s?CkwjP~c}@z^HA$hJ"
    "7fTz_EIOEv@sf#>wJUc%zdk;ZPMu}REN=w%cCkagAuL>$8l)WI7GIqXvc?{!SNN&hneSuTO@U7Lfpm|<9GT-jSGje7#@WYsliJz9"
    "?;^hP>BOUW<zs3$@r$F&7rGbUrsmO4+gFzK<u!+dNQhfEB_5~TyKqv=d#1fVrJ0}-b!@ksJ+T9;JZGT!kg#iVc0|3VICCYn#X9Ya"
    "N|<Fa#GU?vwSD!P)b=~t$_CmBYaeU3``exgz^zGb>Azv66AxrpN{>Gfh6fKGJb3Wn!GnkY3c@~E@aLxd$P752`>oD@omDC|?>EUm"
    "i*Xoq$)n(5I%=9IVWz40*@l2{pCvY_<Nhy{I7y?IkjDhuk#9PF>9{5u-)GZ`(O<WOnjOE^jGe!E{O`b5+Y|"
)
# Neither what XML cannot hold nor what it reads as another character; `_x0041_` is how a workbook writes a character.
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=40).filter(
    lambda text: "_x" not in text
)


def read_cells(path: Path, *names: str) -> list[list[Any]]:
    return [cells for _, _, cells in read_records(path, {name: name for name in names}, BadRows(), set())]


@settings(max_examples=30)  # files are slow
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8))
def test_any_text_is_read_as_from_csv(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("table")
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *(row for row in rows if any(row))])
    write_workbook(folder / "a.xlsx", {"Sheet1": [("input", "output"), *rows]})
    # `repr`, because a missing text is no text at all
    assert repr(rows_of(folder / "a.xlsx", "drop")[0]) == repr(rows_of(folder / "a.csv", "drop")[0])


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (1.0, "1"),
        (7, "7"),
        (8.5, "8.5"),
        (0.1 + 0.2, "0.3"),
        (-0.25, "-0.25"),
        (1e20, "1e+20"),
        (True, "TRUE"),
        (False, "FALSE"),
        (Day(45296), "2024-01-05"),
        (Day(45296.4375), "2024-01-05 10:30:00"),
        ("007", "007"),
        (" a ", " a "),
        ("two\nlines", "two\nlines"),
        ("#DIV/0!", None),
        ("", None),
        (None, None),
    ],
)
def test_cells_are_what_a_person_sees(tmp_path: Path, cell: Any, text: str | None) -> None:
    write_workbook(tmp_path / "a.xlsx", {"Sheet1": [("input", "output"), ("x", cell)]})
    assert read_cells(tmp_path / "a.xlsx", "input", "output") == [["x", text]]


def test_a_place_is_the_row_that_the_sheet_shows(tmp_path: Path) -> None:
    """Above the header and between rows may be empty ones; a table need not begin in the first column."""
    rows = [(), (None, "input", "output"), (), (None, "I cough.", "Tea."), (), (None, "['I ache.']", "Rest.")]
    path = write_workbook(tmp_path / "a.xlsx", {"Sheet1": rows})
    assert f"{path}, line 6 (row 1): a cell holds a list" in refusal(path).what


def test_patients_numbers_are_those_of_a_csv(tmp_path: Path) -> None:
    rows = [("input", "output", "patient"), ("a", "b", 7), ("c", "d", "007"), ("e", "f", None)]
    path = write_workbook(tmp_path / "a.xlsx", {"Sheet1": rows})
    assert frame_of(path, group_column="patient")["group"].tolist() == ["7", "007", None]


def test_words_for_a_missing_value_are_those_of_csv(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "a.xlsx", {"Sheet1": [("input", "output"), ("I cough.", "N/A")]})
    assert frame_of(path)["answer"].isna().tolist() == [True]


@pytest.mark.parametrize("suffix", [".xlsx", ".ods"])
def test_the_sheet_that_has_cells_is_the_table(tmp_path: Path, suffix: str) -> None:
    sheets = {"Notes": [], "Patients": [("input", "output"), *ROWS], "Sheet3": []}
    assert texts(write_workbook(tmp_path / f"a{suffix}", sheets)) == ROWS


def test_hidden_sheets_are_left_out_unless_named(tmp_path: Path) -> None:
    sheets = {"Lists": [("input", "output"), ("x", "y")], "Patients": [("input", "output"), *ROWS]}
    path = write_workbook(tmp_path / "a.xlsx", sheets, hidden=["Lists"])
    assert texts(path) == ROWS
    assert texts(path / "Lists") == [("x", "y")]


def test_several_sheets_with_cells_are_refused_and_one_can_be_named(tmp_path: Path) -> None:
    sheets = {"Q1 & Q2": [("input", "output"), *ROWS], "Prices.csv": [("item", "price"), ("tea", 3)]}
    path = write_workbook(tmp_path / "a.xlsx", sheets)
    error = refusal(path)
    assert error.what == f"{path} has 2 sheets with cells: Q1 & Q2, Prices.csv."
    assert error.hint == f"Name one: {path}/Q1 & Q2"
    assert texts(path / "Q1 & Q2") == ROWS
    assert "no column 'input'. It has: item, price." in refusal(path / "Prices.csv").what
    error = refusal(path / "Q3")
    assert "no such sheet" in error.what
    assert "Q1 & Q2, Prices.csv" in error.hint


def test_old_workbooks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.xls"
    path.write_bytes(zlib.decompress(base64.b85decode(XLS)))
    assert texts(path) == [("I cough, doctor.", "Drink tea."), ("I ache.\nBadly.", "Rest \N{EN DASH} please.")]
    assert read_cells(path, "id") == [["7"], ["8.5"]]
    path.write_bytes(path.read_bytes()[:4096])
    assert "damaged" in refusal(path).what


@pytest.mark.parametrize("sheets", [{}, {"Sheet1": []}, {"Sheet1": [(None, None)]}])
def test_a_workbook_without_cells_is_empty(tmp_path: Path, sheets: dict[str, Any]) -> None:
    assert "is empty" in refusal(write_workbook(tmp_path / "a.xlsx", sheets)).what


@pytest.mark.parametrize("content", [b"", b"input,output\na,b\n", b"PK\x03\x04", b"PK\x05\x06" + bytes(18)])
@pytest.mark.parametrize("suffix", [".xlsx", ".xls", ".ods"])
def test_what_is_no_workbook(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    assert f"a{suffix} is damaged or not a workbook" in refusal(tmp_path / f"a{suffix}").what


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_half_a_workbook(tmp_path: Path, kept: float) -> None:
    path = write_workbook(tmp_path / "a.xlsx", {"Sheet1": [("input", "output"), *ROWS]})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert "damaged" in refusal(path).what


def test_a_damaged_sheet(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "a.xlsx", {"Sheet1": [("input", "output"), *ROWS]})
    content = bytearray(path.read_bytes())
    start = content.index(b"xl/worksheets/1.xml") + len("xl/worksheets/1.xml")
    content[start : start + 20] = bytes(range(200, 220))
    path.write_bytes(content)
    assert "damaged" in refusal(path).what


def test_an_encrypted_workbook_is_told_from_a_damaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import python_calamine

    def refuse(*_: object) -> None:
        raise python_calamine.PasswordError("Workbook is password protected")

    monkeypatch.setattr(workbook_reader, "_read_rows", refuse)
    error = refusal(write_workbook(tmp_path / "a.xlsx", {"Sheet1": [("input", "output"), *ROWS]}))
    assert error.what.endswith("is encrypted.")
    assert "without a password" in error.hint


def test_a_workbook_made_to_fill_the_memory_is_not_opened(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.xlsx", {"xl/worksheets/1.xml": bytes(70_000_000)})
    with pytest.raises(InputError, match="unpacks to over 200 times its size"):
        frame_of(path)


def test_a_sheet_is_named_once(cache: Path, tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "a.xlsx", {"P": [("input", "output"), *ROWS]})
    other = write_workbook(tmp_path / "b.xlsx", {"P": [("input", "output"), *ROWS], "Q": [("x",)]})
    for source in ({"train": str(path), "test": f"{path}/P"}, [f"{path}/P", f"{path}/P"], [f"{path}/P", str(path)]):
        with pytest.raises(InputError, match=r"named twice by --data\.source"):
            prepare(DialogueDataModule(source, "train", 400).recipe)
    for places, fault in (
        ([path], "named by --data.source and by --data.check_against"),
        ([other / "P", other], "named twice by --data.check_against"),
    ):
        with pytest.raises(InputError, match=fault):
            prepare(DialogueDataModule(f"{path}/P", "train", 400, check_against=list(map(str, places))).recipe)
    assert find_repeated([path / "P", other / "P", other / "Q"]) is None


def edit_part(path: Path, name: str, old: str, new: str) -> Path:
    with zipfile.ZipFile(path) as archive:
        parts = {one: archive.read(one) for one in archive.namelist()}
    assert old.encode() in parts[name]
    return write_archive(path, {**parts, name: parts[name].replace(old.encode(), new.encode())})


@pytest.mark.parametrize(
    "new",
    [
        '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>',
        "<row r='1048576' x='>'><c\n s=\"0\" r='XFD1048576' ><v>1</v></c></row></sheetData>",
        '<row><c r="XFD4"><v>1</v></c></row><row r="1048576"><c t="inlineStr"><is><t>x</t></is></c></row></sheetData>',
    ],
)
def test_a_cell_far_away_is_refused_before_memory_is_taken(tmp_path: Path, new: str) -> None:
    path = write_workbook(tmp_path / "a.xlsx", {"Sheet1": [("input", "output"), *ROWS]})
    error = refusal(edit_part(path, "xl/worksheets/1.xml", "</sheetData>", new))
    assert error.what.startswith(f"{path} has a sheet of 1,048,576 rows and 16,384 columns")


@pytest.mark.parametrize(
    "new",
    [
        '<table:table-row table:number-rows-repeated="9999999"><table:table-cell/></table:table-row>'
        '<table:table-row><table:table-cell table:number-columns-repeated="99"/>'
        '<table:table-cell office:value-type="string"><text:p>x</text:p></table:table-cell></table:table-row>',
        '<table:table-row><table:table-cell table:number-columns-repeated="99999999" office:value-type="float"'
        ' office:value="1"/></table:table-row>',
    ],
)
def test_repeated_cells_are_refused_before_memory_is_taken(tmp_path: Path, new: str) -> None:
    path = write_workbook(tmp_path / "a.ods", {"Sheet1": [("input", "output"), *ROWS]})
    assert "has a sheet of" in refusal(edit_part(path, "content.xml", "</table:table>", f"{new}</table:table>")).what


def test_empty_cells_far_away_do_no_harm(tmp_path: Path) -> None:
    """Programs write them where whole columns have a format."""
    path = write_workbook(tmp_path / "a.xlsx", {"Sheet1": [("input", "output"), *ROWS]})
    new = '<row r="1048576"><c r="XFD1048576" s="0"/></row></sheetData>'
    assert texts(edit_part(path, "xl/worksheets/1.xml", "</sheetData>", new)) == ROWS
    path = write_workbook(tmp_path / "a.ods", {"Sheet1": [("input", "output"), *ROWS]})
    new = (
        '<table:table-row table:number-rows-repeated="1048000"><table:table-cell'
        ' table:number-columns-repeated="16384"/></table:table-row></table:table>'
    )
    assert texts(edit_part(path, "content.xml", "</table:table>", new)) == ROWS
