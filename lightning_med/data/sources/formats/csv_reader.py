"""Reads CSV and TSV files strictly.

pandas' own reader lets a quote that is left open swallow the rows after it without an error.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_med.data.sources.bad_rows import BadRows, describe_place
from lightning_med.data.sources.table_columns import Columns, Record, check_columns
from lightning_med.data.sources.table_places import get_format
from lightning_med.data.sources.table_streams import explain_encoding, open_table
from lightning_med.utils.errors import InputError

_MAX_FIELD = 1 << 24  # characters of a cell, above which a quote counts as left open
_QUOTES = "Put a cell with a comma, a quote or a line break in quotes, and double the quotes inside it."


def read_csv(path: Path, columns: Columns, bad: BadRows, met: set[str]) -> Iterator[Record]:
    """Yields the records of a CSV or TSV file.

    Bytes that are not UTF-8 are kept as lone surrogates, so that the message can name their row.

    Raises:
        InputError: A column is missing, or the file is malformed.
    """
    csv.field_size_limit(_MAX_FIELD)
    with io.TextIOWrapper(open_table(path), "utf-8-sig", "surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter="\t" if get_format(path) == ".tsv" else ",", strict=True)
        header = _read_header(path, reader)
        check_columns(path, columns, header, met)
        indices = [header.index(name) for name in columns.values()]
        for row, (line, cells) in enumerate(_read_lines(path, reader)):
            if len(cells) == len(header):
                yield row, line, [cells[index] or None for index in indices]
                continue
            fault = f"{len(cells)} cell{'s' * (len(cells) != 1)} where the header has {len(header)}"
            if reader.line_num > line:  # a quote left open may have swallowed rows: they must not be dropped as one
                raise InputError(f"{path}, lines {line} to {reader.line_num} (row {row}): {fault}.", _QUOTES)
            bad.add(describe_place(path, row, line), fault, _QUOTES)


def _read_header(path: Path, reader: Any) -> list[str]:
    header = next(_read_lines(path, reader), (0, []))[1]
    if not header:
        raise InputError(f"{path} is empty.", "A table needs a header and at least a few consultations.")
    names = "".join(header)
    if "\x00" in names or any("\udc80" <= char <= "\udcff" for char in names):
        encoding = "utf-16" if "\x00" in names else "windows-1252"
        raise InputError(
            f"{path}: its header is not UTF-8.",
            explain_encoding(path, encoding),
        )
    return header


def _read_lines(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yields the cells of each record that is not blank, with the line it begins on."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{path}, line {line}: {_describe_error(error)}.", _QUOTES) from error
        if cells:
            yield line, cells


def _describe_error(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end" in text or "field larger" in text:
        return "a quote opens here and does not close"
    if "expected after" in text:
        return "a quote closes here in the middle of a cell, or one opened earlier was never closed"
    return text
