"""How large the sheets of a workbook are, before a reader takes memory for all cells from the first to the last."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lightning_med.utils.errors import InputError

_MAX_CELLS = 50_000_000  # of a sheet, empty ones too: over 1 GB of memory
_BUFFER = 1 << 20  # bytes
# Rows, cells and values of Excel's sheets (`row`, `c`, `v`, `is`), and of LibreOffice's.
_TAG = re.compile(
    rb"<(?:[\w.-]+:)?(row|c|v|is|table|table-row|table-cell|covered-table-cell)"
    rb"""((?:\s(?:[^<>"']|"[^"<]*"|'[^'<]*')*)?)/?>"""
)
_PLACE = re.compile(rb"""\sr\s*=\s*["']([A-Za-z]{0,4})(\d{1,9})""")
_REPEATED = re.compile(rb"""-repeated\s*=\s*["'](\d{1,12})""")
_FILLED = re.compile(rb":(?:[a-z]+-)?value(?:-type)?\s*=")


def refuse_huge_sheets(path: Path, workbook: zipfile.ZipFile) -> None:
    """Refuses a workbook with a sheet that is too large to be held; a single cell far away from the others makes it so.

    Args:
        path: For the message.
        workbook: An `.xlsx` or `.ods` file.

    Raises:
        InputError: It has one.
    """
    for part in workbook.infolist():
        with workbook.open(part) as stream:
            for rows, columns in _measure_sheets(stream):
                if rows * columns > _MAX_CELLS:
                    raise InputError(
                        f"{path} has a sheet of {rows:,} rows and {columns:,} columns, most of them empty or repeated.",
                        "A cell far below or beside the table has a value: delete it, or save the sheet as CSV.",
                    )


def _measure_sheets(stream: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Yields the rows and columns from the first cell with a value to the last, of a sheet as far as it is read."""
    row = column = -1  # the last one that was begun, 0-based
    first_row = first_column = 0  # of the cell, which may be repeated
    top, left, bottom, right = 1 << 60, 1 << 60, -1, -1
    for tag in _find_tags(stream):
        name, attributes = tag[1], tag[2]
        is_filled = name in (b"v", b"is") and column >= 0
        if name in (b"row", b"table-row", b"table"):
            if bottom >= 0:
                yield bottom - top + 1, right - left + 1
            if name == b"table":
                row, top, left, bottom, right = -1, 1 << 60, 1 << 60, -1, -1
                continue
            place = _PLACE.search(attributes) if name == b"row" else None
            first_row = int(place[2]) - 1 if place else row + 1
            row, column = first_row + _count(attributes) - 1, -1
        elif name == b"c":
            place = _PLACE.search(attributes)
            if place and place[1]:
                first_row = row = int(place[2]) - 1
            first_column = column = _number_column(place[1]) if place and place[1] else column + 1
        elif name in (b"table-cell", b"covered-table-cell"):
            first_column, column = column + 1, column + _count(attributes)
            is_filled = bool(_FILLED.search(attributes))
        if is_filled:
            top, left = min(top, first_row), min(left, first_column)
            bottom, right = max(bottom, row), max(right, column)
    if bottom >= 0:
        yield bottom - top + 1, right - left + 1


def _count(attributes: bytes) -> int:
    repeated = _REPEATED.search(attributes)
    return int(repeated[1]) if repeated else 1


def _number_column(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - ord("A") + 1
    return number - 1


def _find_tags(stream: IO[bytes]) -> Iterator[re.Match[bytes]]:
    rest = b""
    while chunk := stream.read(_BUFFER):
        rest += chunk
        end = max(rest.rfind(b"<"), 0)  # a tag may be cut there
        yield from _TAG.finditer(rest, 0, end)
        rest = rest[end:]
    yield from _TAG.finditer(rest)
