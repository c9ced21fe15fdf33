"""Reads JSON files (a list of objects) and JSONL files (an object per line)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from lightning_med.data.sources.bad_rows import BadRows, describe_place
from lightning_med.data.sources.table_columns import Columns, Record, check_columns
from lightning_med.data.sources.table_streams import explain_encoding, open_table
from lightning_med.utils.errors import InputError

_HEADER_OBJECTS = 1_000  # first objects of a file, whose keys are its columns
_EXPECTED_LIST = 'Expected: [{"input": "…", "output": "…"}, …]'
_EXPECTED_OBJECT = 'Expected: {"input": "…", "output": "…"}'


def read_json(path: Path, columns: Columns, bad: BadRows, met: set[str]) -> Iterator[Record]:
    """Yields the records of a JSON file.

    Raises:
        InputError: A column is missing, or the file is malformed.
    """
    try:
        with open_table(path) as file:
            objects = json.loads(file.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.object[error.start]:#04x} at {error.start} is not UTF-8 ({error.reason}).",
            explain_encoding(path),
        ) from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno}: {error.msg.removesuffix(' at')}.",
            "One object per line? Then name the file .jsonl.",
        ) from error
    except (ValueError, RecursionError) as error:  # a number with thousands of digits, or too many open brackets
        raise InputError(f"{path} cannot be read as a table: {error}.", _EXPECTED_LIST) from error
    if not isinstance(objects, list) or not all(isinstance(item, dict) for item in objects):
        raise InputError(f"{path} is not a list of objects.", _EXPECTED_LIST)
    yield from _pick_columns(path, columns, ((row, 0, item) for row, item in enumerate(objects)), met)


def read_jsonl(path: Path, columns: Columns, bad: BadRows, met: set[str]) -> Iterator[Record]:
    """Yields the records of a JSONL file.

    Raises:
        InputError: A column is missing.
    """
    with open_table(path) as file:
        lines = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
        objects = (
            (row, number, _parse_object(line, describe_place(path, row, number), bad))
            for row, (number, line) in enumerate(lines)
        )
        whole = ((row, line, item) for row, line, item in objects if item is not None)
        yield from _pick_columns(path, columns, whole, met)


def _parse_object(line: bytes, place: str, bad: BadRows) -> dict[str, Any] | None:
    """Returns the object of a line; `None` for a bad row."""
    try:
        item = json.loads(line.decode("utf-8-sig" if line.startswith(b"\xef\xbb\xbf") else "utf-8"))
    except UnicodeDecodeError:
        bad.add(place, "bytes that are not UTF-8", "Convert it, for instance: iconv -f windows-1252 -t utf-8 OLD > NEW")
        return None
    except (ValueError, RecursionError) as error:
        bad.add(place, str(getattr(error, "msg", error)).removesuffix(" at"), "Each line must be one JSON object.")
        return None
    if not isinstance(item, dict):
        bad.add(place, "not a JSON object", _EXPECTED_OBJECT)
        return None
    return item


def _pick_columns(
    path: Path, columns: Columns, objects: Iterator[tuple[int, int, dict[str, Any]]], met: set[str]
) -> Iterator[Record]:
    """Yields records. Each column must be a key of one of the first objects; any object may lack it."""
    first = list(islice(objects, _HEADER_OBJECTS))
    if first:
        check_columns(path, columns, list(dict.fromkeys(key for *_, item in first for key in item)), met)
    for row, line, item in chain(first, objects):
        met.update(item)
        yield row, line, [item.get(name) for name in columns.values()]
