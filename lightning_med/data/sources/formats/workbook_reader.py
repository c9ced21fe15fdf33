"""Reads a sheet of a workbook: Excel's and LibreOffice's."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time
from pathlib import Path
from typing import Any

from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.formats.workbook_sizes import refuse_huge_sheets
from lightning_med.data.sources.table_columns import Columns, Record, check_columns
from lightning_med.data.sources.table_places import locate_table
from lightning_med.data.sources.table_streams import check_expansion, open_whole
from lightning_med.utils.errors import InputError, describe_error

_DIGITS = 15  # that a spreadsheet keeps of a number
_MAX_LISTED = 12  # sheets that a message names
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, struct.error)  # of its zip archive


def read_workbook(path: Path, columns: Columns, bad: BadRows, met: set[str]) -> Iterator[Record]:
    """Yields the records of a sheet. Its first row with a cell is the header; a record's line is its row in the sheet.

    Raises:
        InputError: A column is missing, no sheet is named where several have cells, or the file is damaged.
    """
    with _explain_faults(path), open_whole(path) as file:
        rows = _read_rows(path, file)
        header = next(rows, (0, []))[1]
        if not header:
            raise InputError(f"{path} is empty.", "A table needs a header and at least a few consultations.")
        names = [name or "" for name in header]
        check_columns(path, columns, names, met)
        met.discard("")
        indices = [names.index(name) for name in columns.values()]
        for row, (line, cells) in enumerate(rows):
            yield row, line, [cells[index] for index in indices]


def _read_rows(path: Path, file: Any) -> Iterator[tuple[int, list[str | None]]]:
    """Yields the rows with a cell as text, each with its number in the sheet, from 1."""
    from python_calamine import CalamineWorkbook

    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as parts:
            sizes = [(part.compress_size, part.file_size) for part in parts.infolist()]
            check_expansion(path, sum(size for size, _ in sizes), sum(size for _, size in sizes))
            refuse_huge_sheets(path, parts)
    if not isinstance(file, Path):
        file.seek(0)
    workbook = CalamineWorkbook.from_object(file)
    for line, row in enumerate(_choose_sheet(path, workbook).iter_rows(), 1):
        cells = [_write_cell(cell) for cell in row]
        if any(cell is not None for cell in cells):
            yield line, cells


def _choose_sheet(path: Path, workbook: Any) -> Any:
    """Returns the sheet that the path names, or the only one with cells that is not hidden."""
    known = [sheet.name for sheet in workbook.sheets_metadata if str(sheet.typ).endswith("WorkSheet")]
    name = locate_table(path).sheet
    if name and name not in known:
        raise InputError(f"{path}: the workbook has no such sheet.", f"Its sheets: {_list(known)}.")
    hidden = {sheet.name for sheet in workbook.sheets_metadata if not str(sheet.visible).endswith(".Visible")}
    sheets = [workbook.get_sheet_by_name(name) for name in ([name] if name else known)]
    filled = [sheet for sheet in sheets if sheet.height and (name or sheet.name not in hidden)]
    if not filled:
        raise InputError(f"{path} is empty.", "A table needs a header and at least a few consultations.")
    if len(filled) > 1:
        names = [sheet.name for sheet in filled]
        raise InputError(f"{path} has {len(filled)} sheets with cells: {_list(names)}.", f"Name one: {path}/{names[0]}")
    return filled[0]


def _list(names: list[str]) -> str:
    return ", ".join(names[:_MAX_LISTED]) + " …" * (len(names) > _MAX_LISTED)


def _write_cell(cell: Any) -> str | None:
    """Returns a cell as a person sees it; null where it is empty or shows an error."""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return f"{cell:.{_DIGITS}g}"
    if isinstance(cell, datetime) and cell.time() == time():
        cell = cell.date()
    return str(cell) or None


@contextmanager
def _explain_faults(path: Path) -> Iterator[None]:
    """Turns errors of the library that reads workbooks into those for a user."""
    from python_calamine import CalamineError, PasswordError

    try:
        yield
    except PasswordError as error:
        raise InputError(f"{path} is encrypted.", "Save it without a password.") from error
    except BaseException as error:
        known = isinstance(error, (CalamineError, *_BROKEN))
        if not known and type(error).__name__ != "PanicException":  # of its Rust code, which has no other name here
            raise
        what = f"{path} is damaged or not a workbook: {describe_error(error, 160)}"
        raise InputError(what, "Fetch it or save it again.") from error
