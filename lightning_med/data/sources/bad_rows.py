"""Rows that cannot be read: an error that names the row, or dropped and counted. Their content is never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lightning_med.data.sources.cell_values import is_list
from lightning_med.utils.errors import InputError

MAX_CELL = 1_000_000  # bytes; a larger cell is a sign of a damaged file
_MAX_PLACES = 5  # kept for the report
_BRACKETS = r"(?s)^[\s\pZ\pC]*[\[{].*[\]}][\s\pZ\pC]*$"  # what may be a list
_SURROGATES = re.compile("[\ud800-\udfff]")
_ONE_TEXT = "Write one text a cell; a list of messages is read by --data.messages_column NAME."
_UNDECODED_BYTES = re.compile("[\udc80-\udcff]")  # as `errors="surrogateescape"` leaves them


@dataclass
class BadRows:
    """Counts rows that cannot be read, or refuses the first one.

    Attributes:
        policy: `error` raises at the first bad row, `drop` counts them.
        count: Rows dropped.
        places: Place and fault of the first few rows, without their content.
    """

    policy: Literal["error", "drop"] = "error"
    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, place: str, fault: str, hint: str) -> None:
        """Adds a row.

        Raises:
            InputError: The policy is `error`.
        """
        if self.policy == "error":
            stop = "" if hint.endswith((".", "?", "]")) else "."
            raise InputError(f"{place}: {fault}.", f"{hint}{stop} Or leave such rows out: --data.on_bad_row drop")
        self.count += 1
        if len(self.places) < _MAX_PLACES:
            self.places.append(f"{Path(place).name}: {fault}")


def describe_place(path: Path, row: int, line: int = 0) -> str:
    """Returns the place of a row for messages; `line` is 0 where a file has no lines."""
    return f"{path}, line {line} (row {row})" if line else f"{path}, row {row}"


def keep_readable(frame: pd.DataFrame, columns: list[str], places: Iterable[str], bad: BadRows) -> pd.DataFrame:
    """Returns the rows of a frame whose cells are valid text or null.

    Args:
        frame: As read.
        columns: The columns to check.
        places: The place of each row, for messages.
        bad: Takes the other rows.
    """
    suspects = [name for name in columns if not _is_readable(frame[name])]
    if not suspects:
        return frame
    faults = [find_fault(cells) for cells in zip(*(frame[name] for name in suspects), strict=True)]
    for place, fault in zip(places, faults, strict=True):
        if fault:
            bad.add(place, *fault)
    return frame[[not fault for fault in faults]]


def _is_readable(column: pd.Series) -> bool:
    """Whether all cells are valid; checked by Arrow, as a Python loop over the cells is slow."""
    if pd.api.types.infer_dtype(column, skipna=True) not in ("string", "empty"):  # Arrow accepts bytes as text
        return False
    try:
        texts = pa.array(column, pa.large_string(), from_pandas=True)
    except (pa.ArrowException, UnicodeEncodeError, TypeError):
        return False
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    if longest > MAX_CELL or pc.any(pc.match_substring(texts, "\x00")).as_py():
        return False
    return not pc.any(pc.match_substring_regex(texts, _BRACKETS)).as_py()


def find_fault(cells: Iterable[object], lists: bool = False) -> tuple[str, str] | None:
    """Returns the first fault of a row's cells and how to fix it; `None` without a fault.

    Args:
        cells: Text or null.
        lists: Whether a text may be a list or an object as Python or JSON writes it.
    """
    for cell in cells:
        if not isinstance(cell, str):
            if cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell):
                continue
            return f"a cell holds a {type(cell).__name__}, not text", "Write it as text."
        if _UNDECODED_BYTES.search(cell):
            return "bytes that are not UTF-8", "Convert it, for instance: iconv -f windows-1252 -t utf-8 OLD > NEW"
        if _SURROGATES.search(cell):
            return "half of a character (a lone surrogate)", "Write the file again as UTF-8."
        if "\x00" in cell:
            return "a NUL byte inside a cell", "The file is damaged, or UTF-16: write it again as UTF-8."
        if len(cell) > MAX_CELL or len(cell.encode()) > MAX_CELL:
            return f"a cell of {len(cell):,} characters, too long for a consultation", "Is a quote left open before it?"
        if not lists and is_list(cell):
            return "a cell holds a list or an object, written as text", _ONE_TEXT
    return None
