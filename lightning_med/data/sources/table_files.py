"""Table files as pandas frames, chunk by chunk, with the place of each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.formats.csv_reader import read_csv
from lightning_med.data.sources.formats.json_reader import read_json, read_jsonl
from lightning_med.data.sources.formats.parquet_reader import read_parquet
from lightning_med.data.sources.formats.workbook_reader import read_workbook
from lightning_med.data.sources.table_columns import Columns, Record
from lightning_med.data.sources.table_places import WORKBOOKS, locate_table
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import refuse_pointer

CHUNK = 2_500  # rows of text held at once
_MAX_CHARACTERS = 1 << 25  # of a chunk, for tables with long cells
_READERS = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
    **dict.fromkeys(WORKBOOKS, read_workbook),
}


def read_table(path: Path, columns: Columns, bad: BadRows, met: set[str] | None = None) -> Iterator[pd.DataFrame]:
    """Reads the rows of a file in order.

    Args:
        path: The file, or a path that goes on inside it, see `locate_table`; its suffix tells the format.
        columns: The columns to read.
        bad: Takes rows that cannot be read.
        met: Receives the names of the table's columns; more may come with each frame of a JSON file.

    Yields:
        Frames of at most `CHUNK` rows with the columns to read, cells as in the file (null where empty), `row`: 0-based
        in the file, header and blank lines not counted, and `line`: 1-based, 0 where a format has no lines; in a
        workbook the number that the sheet shows.

    Raises:
        InputError: A column is missing, or the file is malformed or a Git LFS pointer; the message names file and line.
    """
    yield from _make_frames(columns, read_records(path, columns, bad, set() if met is None else met))


def read_records(path: Path, columns: Columns, bad: BadRows, met: set[str]) -> Iterator[Record]:
    """Yields what `read_table` makes frames of."""
    try:
        place = locate_table(path)
        refuse_pointer(place.file)
        yield from _READERS[place.format](path, columns, bad, met)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def read_header(path: Path) -> set[str]:
    """Returns the names of a table's columns; of a JSON file's, those of its first objects."""
    met: set[str] = set()
    next(read_records(path, {}, BadRows("drop"), met), None)
    return met


def _make_frames(columns: Columns, records: Iterable[Record]) -> Iterator[pd.DataFrame]:
    chunk: list[Record] = []
    characters = 0
    for record in records:
        chunk.append(record)
        characters += sum(len(cell) for cell in record[2] if isinstance(cell, str))
        if len(chunk) == CHUNK or characters > _MAX_CHARACTERS:
            yield _make_frame(columns, chunk)
            chunk, characters = [], 0
    if chunk:
        yield _make_frame(columns, chunk)


def _make_frame(columns: Columns, records: list[Record]) -> pd.DataFrame:
    rows, lines, cells = zip(*records, strict=True)
    frame = pd.DataFrame(list(cells), columns=[*columns.values()], dtype=object)
    frame.insert(len(columns), "row", rows, allow_duplicates=True)  # a column of the file may have that name
    frame.insert(len(columns) + 1, "line", lines, allow_duplicates=True)
    return frame
