"""The figures of a run, read from its `metrics.csv` and the JSON files of its evaluations, without a heavy library."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METRICS = "metrics.csv"
_COLUMNS = ("step", "val/perplexity", "val/bits_per_byte")


@dataclass(frozen=True)
class Validation:
    """The best validation of a run: the one with the lowest perplexity.

    Attributes:
        step: The optimizer steps done by then.
    """

    step: int
    perplexity: float
    bits_per_byte: float | None


def read_metrics(run: Path) -> tuple[int, Validation | None]:
    """Returns the optimizer steps that are logged, and the best validation, of `metrics.csv`.

    Lines that cannot be read are passed over.
    """
    steps, best = 0, None
    try:
        rows = read_rows(run / METRICS)
        header = next(rows, [])
        places = [header.index(name) if name in header else None for name in _COLUMNS]
        for row in rows:
            step, perplexity, bits = (_read_number(row, place) for place in places)
            if step is None or len(row) != len(header):
                continue
            steps = max(steps, int(step) + 1)  # Lightning counts from 0
            if perplexity is not None and (best is None or perplexity < best.perplexity):
                best = Validation(int(step) + 1, perplexity, bits)
    except (OSError, csv.Error):
        pass  # without loggers there is none
    return steps, best


def read_rows(path: Path) -> Iterator[list[str]]:
    """Returns the rows of a CSV that may be being written: a last line without its end is left out.

    Raises:
        OSError: It cannot be read.
    """
    text = path.read_bytes().decode("utf-8", "replace")
    return csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))


def _read_number(row: list[str], place: int | None) -> float | None:
    """Returns a cell as a finite number; `None` where it is none."""
    if place is None or place >= len(row) or not row[place]:
        return None
    try:
        value = float(row[place])
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_results(path: Path) -> dict[str, Any]:
    """Returns the content of `test.json` or `validate.json`; empty where there is none that can be read.

    A figure that was not finite is null.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def pick_number(content: dict[str, Any], name: str) -> float | None:
    """Returns a finite number of a mapping; `None` where it is none."""
    value = content.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None
