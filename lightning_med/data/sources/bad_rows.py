"""Rows that cannot be read as they stand: an error that names them, or dropped and counted. Never guessed at."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lightning_med.utils.errors import InputError

MAX_CELL = 1_000_000  # bytes; a cell above it is a damaged file or no consultation
_SHOWN = 5  # places kept for the report
_HALVES = re.compile("[\ud800-\udfff]")
_BYTES = re.compile("[\udc80-\udcff]")


@dataclass
class BadRows:
    """What becomes of bad rows.

    Attributes:
        policy: `error` raises at the first one, `drop` counts them.
        count: Rows dropped.
        places: Where the first of them stood, and why; no content.
    """

    policy: Literal["error", "drop"] = "error"
    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, where: str, what: str, hint: str) -> None:
        """One more.

        Raises:
            InputError: The policy is `error`.
        """
        if self.policy == "error":
            stop = "" if hint.endswith((".", "?", "]")) else "."
            raise InputError(f"{where}: {what}.", f"{hint}{stop} Or leave such rows out: --data.on_bad_row drop")
        self.count += 1
        if len(self.places) < _SHOWN:
            self.places.append(f"{Path(where).name}: {what}")


def keep_readable(frame: pd.DataFrame, columns: list[str], places: Iterable[str], bad: BadRows) -> pd.DataFrame:
    """The rows of a frame whose cells are whole text or null.

    Args:
        frame: As read.
        columns: Those to look at.
        places: For each row its file and place there, for messages.
        bad: What to do with the others.
    """
    suspects = [name for name in columns if not _is_readable(frame[name])]
    if not suspects:
        return frame
    wrong = [find_fault(cells) for cells in zip(*(frame[name] for name in suspects), strict=True)]
    for place, found in zip(places, wrong, strict=True):
        if found:
            bad.add(place, *found)
    return frame[[not found for found in wrong]]


def _is_readable(column: pd.Series) -> bool:
    """Whether a whole column is sound, seen without a look at each cell by Python."""
    if pd.api.types.infer_dtype(column, skipna=True) not in ("string", "empty"):  # Arrow takes bytes for text
        return False
    try:
        texts = pa.array(column, pa.large_string(), from_pandas=True)
    except (pa.ArrowException, UnicodeEncodeError, TypeError):
        return False
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    return longest <= MAX_CELL and not pc.any(pc.match_substring(texts, "\x00")).as_py()


def find_fault(cells: Iterable[object]) -> tuple[str, str] | None:
    """What is wrong with the cells of a row, and how to fix it; `None` if nothing is."""
    for cell in cells:
        if not isinstance(cell, str):
            if cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell):
                continue
            return f"a cell holds a {type(cell).__name__}, not text", "Write it as text."
        if _BYTES.search(cell):
            return "bytes that are not UTF-8", "Convert it, for instance: iconv -f latin1 -t utf-8 OLD > NEW"
        if _HALVES.search(cell):
            return "half of a character (a lone surrogate)", "Write the file again as UTF-8."
        if "\x00" in cell:
            return "a NUL byte inside a cell", "Such a file is damaged, or UTF-16: write it again as UTF-8."
        if len(cell) > MAX_CELL or len(cell.encode()) > MAX_CELL:
            return f"a cell of {len(cell):,} characters, which is no consultation", "Is a quote left open before it?"
    return None
