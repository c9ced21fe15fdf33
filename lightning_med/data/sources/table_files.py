"""Table files as pandas frames, chunk by chunk, with the place of each row: CSV, TSV, JSON, JSONL, Parquet."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.utils.errors import InputError

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
CHUNK = 2_500  # rows of text held at once
_LARGE = 1 << 25  # characters from which fewer rows are a chunk too
_KNOWING = 1_000  # objects whose keys are the columns of a JSON file
_MAX_FIELD = 1 << 24  # characters of a cell before a quote is said to be left open
_QUOTES = "A cell with a comma, a quote or a line break stands in quotes, a quote inside it is doubled."

Columns = dict[str, str]  # the option that names a column -> the column's name
Record = tuple[int, int, list[Any]]  # row, line (0 where a file has none), cells


def read_table(path: Path, columns: Columns, bad: BadRows) -> Iterator[pd.DataFrame]:
    """The rows of a file, in order.

    Args:
        path: The file; its ending says what it is.
        columns: The columns to read.
        bad: What to do with a row that cannot be read.

    Yields:
        Frames of at most `CHUNK` rows with the columns asked for, cells as they stand in the file (null where empty),
        `row`: 0-based in that file, header and blank lines not counted, and `line`: 1-based, 0 where a file has none.

    Raises:
        InputError: A column is missing, or the file is malformed; the message names file and line.
    """
    reader = {
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".json": _read_json,
        ".jsonl": _read_jsonl,
        ".parquet": _read_parquet,
    }[path.suffix.lower()]
    try:
        yield from reader(path, columns, bad)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def describe_place(path: Path, row: int, line: int = 0) -> str:
    """A row, for messages."""
    return f"{path}, line {line} (row {row})" if line else f"{path}, row {row}"


def _read_frames(columns: Columns, records: Iterable[Record]) -> Iterator[pd.DataFrame]:
    part: list[Record] = []
    size = 0
    for record in records:
        part.append(record)
        size += sum(len(cell) for cell in record[2] if isinstance(cell, str))
        if len(part) == CHUNK or size > _LARGE:
            yield _make_frame(columns, part)
            part, size = [], 0
    if part:
        yield _make_frame(columns, part)


def _make_frame(columns: Columns, records: list[Record]) -> pd.DataFrame:
    rows, lines, cells = zip(*records, strict=True)
    frame = pd.DataFrame(list(cells), columns=[*columns.values()], dtype=object)
    frame.insert(len(columns), "row", rows, allow_duplicates=True)  # a column of the file may have that name
    frame.insert(len(columns) + 1, "line", lines, allow_duplicates=True)
    return frame


# ---------------------------------------------------------------------- CSV and TSV


def _read_csv(path: Path, columns: Columns, bad: BadRows) -> Iterator[pd.DataFrame]:
    # The strict reader: pandas' own lets a quote left open swallow rows in silence. Bytes that are not UTF-8 are
    # carried along as lone surrogates, so that the row they stand in can be named.
    csv.field_size_limit(_MAX_FIELD)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        header = _read_header(path, lines)
        _check_columns(path, columns, header)
        yield from _read_frames(columns, _read_records(path, lines, header, columns, bad))


def _read_records(path: Path, lines: Any, header: list[str], columns: Columns, bad: BadRows) -> Iterator[Record]:
    wanted = [header.index(name) for name in columns.values()]
    for row, (line, cells) in enumerate(_read_lines(path, lines)):
        if len(cells) == len(header):
            yield row, line, [cells[index] or None for index in wanted]
            continue
        what = f"{len(cells)} cell{'s' * (len(cells) != 1)} where the header has {len(header)}"
        if lines.line_num > line:  # a quote left open may have swallowed whole rows: not to be dropped as one
            raise InputError(f"{path}, lines {line} to {lines.line_num} (row {row}): {what}.", _QUOTES)
        bad.add(describe_place(path, row, line), what, _QUOTES)


def _read_header(path: Path, lines: Any) -> list[str]:
    header = next(_read_lines(path, lines), (0, []))[1]
    if not header:
        raise InputError(f"{path} is empty.", "A table needs a header and at least a few consultations.")
    signs = "".join(header)
    if "\x00" in signs or any("\udc80" <= sign <= "\udcff" for sign in signs):
        likely = "utf-16" if "\x00" in signs else "latin1"
        raise InputError(
            f"{path}: its header is not UTF-8.",
            f"Convert it, for instance: iconv -f {likely} -t utf-8 {path.name} > utf8-{path.name}",
        )
    return header


def _read_lines(path: Path, lines: Any) -> Iterator[tuple[int, list[str]]]:
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
        guess = next((f for f in found if near and f.lower() == near[0]), "NAME")
        for sign, called in {";": "';'", "\t": "tabs", "|": "'|'"}.items():
            if len(found) == 1 and sign in found[0]:
                hint = "Name it .tsv." if sign == "\t" else "Save it with commas, or as TSV."
                raise InputError(f"{path}: its cells seem to be separated by {called}.", hint)
        if path.suffix.lower() in (".csv", ".tsv") and any("@" in name or name.count(" ") > 5 for name in found):
            raise InputError(
                f"{path}: its first line reads like a row, not like a header.",
                f"Write a line before it: {','.join(columns.values())}",
            )
        shown = [f if f == f.strip() else repr(f) for f in map(str, found)]  # a space at its end is seen
        listed = ", ".join(f[:60] for f in shown[:12]) + (f", … ({len(found):,} in all)" * (len(found) > 12))
        raise InputError(
            f"{path} has no column {name!r}. It has: {listed or 'none'}.",
            f"Name yours: --data.{option} {guess if guess == guess.strip() else repr(guess)}",
        )


# ---------------------------------------------------------------------- JSON


def _read_json(path: Path, columns: Columns, bad: BadRows) -> Iterator[pd.DataFrame]:
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
    yield from _frame_objects(path, columns, ((row, 0, record) for row, record in enumerate(records)))


def _read_jsonl(path: Path, columns: Columns, bad: BadRows) -> Iterator[pd.DataFrame]:
    with path.open("rb") as lines:
        numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
        yield from _frame_objects(
            path,
            columns,
            (
                (row, number, record)
                for row, (number, line) in enumerate(numbered)
                if (record := _parse_object(line, describe_place(path, row, number), bad)) is not None
            ),
        )


def _parse_object(line: bytes, where: str, bad: BadRows) -> dict[str, Any] | None:
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


def _frame_objects(
    path: Path, columns: Columns, objects: Iterator[tuple[int, int, dict[str, Any]]]
) -> Iterator[pd.DataFrame]:
    """Frames of numbered objects; the first few hundred must know every column, later ones may lack a key."""
    first = list(islice(objects, _KNOWING))
    if first:
        _check_columns(path, columns, list(dict.fromkeys(key for *_, found in first for key in found)))
    yield from _read_frames(
        columns,
        ((row, line, [found.get(name) for name in columns.values()]) for row, line, found in chain(first, objects)),
    )


# ---------------------------------------------------------------------- Parquet


def _read_parquet(path: Path, columns: Columns, bad: BadRows) -> Iterator[pd.DataFrame]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, columns, file.schema_arrow.names)
            for batch in file.iter_batches(CHUNK, columns=[*columns.values()]):
                cells = zip(*(_convert_cells(batch.column(name)) for name in columns.values()), strict=True)
                yield from _read_frames(columns, ((row + at, 0, list(own)) for at, own in enumerate(cells)))
                row += len(batch)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a whole Parquet file: {error}", "Fetch or write it again.") from error


def _convert_cells(column: Any) -> list[Any]:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:  # as in CSV, such bytes are carried along until their row can be named
        found = column.cast("binary").to_pylist()
        return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in found]
