"""Table files as pandas frames, chunk by chunk, with the place of each row: CSV, TSV, JSON, JSONL, Parquet."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_med.data.bad_rows import BadRows
from lightning_med.errors import InputError

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
CHUNK = 2_500  # rows of text held at once
_MAX_FIELD = 1 << 24  # characters of a cell before a quote is said to be left open
_QUOTES = "A cell with a comma, a quote or a line break stands in quotes, a quote inside it is doubled."

Columns = dict[str, str]  # the option that names a column -> the column's name


def frames(path: Path, columns: Columns, bad: BadRows) -> Iterator[pd.DataFrame]:
    """The rows of a file, in order.

    Args:
        path: The file; its ending says what it is.
        columns: The columns to read.
        bad: What to do with a row that cannot be read.

    Yields:
        Frames of at most `CHUNK` rows with the columns asked for, cells as they stand in the file (null where empty),
        and `row`: 0-based in that file, header and blank lines not counted.

    Raises:
        InputError: A column is missing, or the file is malformed; the message names file and line.
    """
    reader = {".csv": _csv, ".tsv": _csv, ".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix.lower()]
    try:
        yield from reader(path, columns, bad)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def place(path: Path, row: int) -> str:
    """A row, for messages."""
    return f"{path}, row {row}"


def _frame(columns: Columns, records: list[list[Any]], rows: list[int]) -> pd.DataFrame:
    frame = pd.DataFrame(records, columns=[*columns.values()], dtype=object)
    frame.insert(len(columns), "row", rows, allow_duplicates=True)  # a column of the file may have that name
    return frame


# ---------------------------------------------------------------------- CSV and TSV


def _csv(path: Path, columns: Columns, bad: BadRows) -> Iterator[pd.DataFrame]:
    # The strict reader: pandas' own lets a quote left open swallow rows in silence. Bytes that are not UTF-8 are
    # carried along as lone surrogates, so that the row they stand in can be named.
    csv.field_size_limit(_MAX_FIELD)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        header = _header(path, lines)
        _check_columns(path, columns, header)
        wanted = [header.index(name) for name in columns.values()]
        records: list[list[Any]] = []
        rows: list[int] = []
        for row, (line, cells) in enumerate(_lines(path, lines)):
            if len(cells) != len(header):
                what = f"{len(cells)} cell{'s' * (len(cells) != 1)} where the header has {len(header)}"
                bad.add(f"{path}, line {line} (row {row})", what, _QUOTES)
                continue
            records.append([cells[index] or None for index in wanted])
            rows.append(row)
            if len(records) == CHUNK:
                yield _frame(columns, records, rows)
                records, rows = [], []
        if records:
            yield _frame(columns, records, rows)


def _header(path: Path, lines: Any) -> list[str]:
    header = next(_lines(path, lines), (0, []))[1]
    if not header:
        raise InputError(f"{path} is empty.", "A table needs a header and at least a few consultations.")
    if any("\x00" in name or any("\udc80" <= sign <= "\udcff" for sign in name) for name in header):
        raise InputError(
            f"{path}: its header is not UTF-8.", f"Convert it: iconv -f utf-16 -t utf-8 {path.name} > utf8-{path.name}"
        )
    return header


def _lines(path: Path, lines: Any) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it begins on; blank lines left out."""
    while True:
        line = lines.line_num + 1
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            what = str(error)
            if "unexpected end" in what or "field larger" in what:
                what = "a quote opens here and does not close"
            elif "expected after" in what:
                what = "a quote closes here in the middle of a cell, or one opened earlier was never closed"
            raise InputError(f"{path}, line {line}: {what}.", _QUOTES) from error
        if cells:
            yield line, cells


def _check_columns(path: Path, columns: Columns, found: list[str]) -> None:
    for option, name in columns.items():
        if found.count(name) == 1:
            continue
        if name in found:
            raise InputError(f"{path} has {found.count(name)} columns named {name!r}.", "Rename all but one.")
        near = difflib.get_close_matches(name.lower(), [f.lower() for f in found], n=1)
        guess = next((f for f in found if near and f.lower() == near[0]), None)
        if len(found) == 1 and ";" in found[0]:
            raise InputError(f"{path}: its cells seem to be separated by ';'.", "Save it with commas, or as TSV.")
        if path.suffix.lower() in (".csv", ".tsv") and any("@" in name or name.count(" ") > 5 for name in found):
            raise InputError(
                f"{path}: its first line reads like a row, not like a header.",
                f"Write a line before it: {','.join(columns.values())}",
            )
        listed = ", ".join(str(f)[:60] for f in found[:12]) + (f", … ({len(found):,} in all)" * (len(found) > 12))
        raise InputError(
            f"{path} has no column {name!r}. It has: {listed or 'none'}.",
            f"Name yours: --data.{option} {guess if guess is not None else 'NAME'}",
        )


# ---------------------------------------------------------------------- JSON


def _json(path: Path, columns: Columns, bad: BadRows) -> Iterator[pd.DataFrame]:
    try:
        records = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.object[error.start]:#04x} at {error.start} is not UTF-8 ({error.reason}).",
            f"Convert it first, for instance: iconv -f latin1 -t utf-8 {path.name} > utf8-{path.name}",
        ) from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno}: {error.msg.removesuffix(' at')}.",
            "One object a line? Then name the file .jsonl.",
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
        raise InputError(f"{path} is no table: {error}.", 'Expected: [{"input": "…", "output": "…"}, …]') from error
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{path} is not a list of objects.", 'Expected: [{"input": "…", "output": "…"}, …]')
    yield from _from_records(path, columns, enumerate(records))


def _jsonl(path: Path, columns: Columns, bad: BadRows) -> Iterator[pd.DataFrame]:
    with path.open("rb") as lines:
        numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
        records = (
            (row, _record(line, f"{path}, line {number} (row {row})", bad))
            for row, (number, line) in enumerate(numbered)
        )
        yield from _from_records(path, columns, ((row, record) for row, record in records if record is not None))


def _record(line: bytes, where: str, bad: BadRows) -> dict[str, Any] | None:
    """The object of a JSONL line, `None` if it is a bad row."""
    try:
        record = json.loads(line.decode("utf-8-sig" if line.startswith(b"\xef\xbb\xbf") else "utf-8"))
    except UnicodeDecodeError:
        bad.add(where, "bytes that are not UTF-8", "Convert it, for instance: iconv -f latin1 -t utf-8 OLD > NEW")
        return None
    except (ValueError, RecursionError) as error:
        bad.add(where, str(getattr(error, "msg", error)).removesuffix(" at"), "Each line must be one JSON object.")
        return None
    if not isinstance(record, dict):
        bad.add(where, "not a JSON object", 'Expected: {"input": "…", "output": "…"}')
        return None
    return record


def _from_records(
    path: Path, columns: Columns, records: Iterator[tuple[int, dict[str, Any]]]
) -> Iterator[pd.DataFrame]:
    """Frames of numbered objects; those of the first frame must know every column, later ones may lack a key."""
    first = True
    while part := list(islice(records, CHUNK)):
        if first:
            _check_columns(path, columns, list(dict.fromkeys(key for _, record in part for key in record)))
        first = False
        cells = [[record.get(name) for name in columns.values()] for _, record in part]
        yield _frame(columns, cells, [row for row, _ in part])


# ---------------------------------------------------------------------- Parquet


def _parquet(path: Path, columns: Columns, bad: BadRows) -> Iterator[pd.DataFrame]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, columns, file.schema_arrow.names)
            for batch in file.iter_batches(CHUNK, columns=[*columns.values()]):
                cells = [_cells(batch.column(name)) for name in columns.values()]
                yield _frame(columns, list(map(list, zip(*cells, strict=True))), list(range(row, row + len(batch))))
                row += len(batch)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a whole Parquet file: {error}", "Fetch or write it again.") from error


def _cells(column: Any) -> list[Any]:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:  # as in CSV, such bytes are carried along until their row can be named
        found = column.cast("binary").to_pylist()
        return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in found]
