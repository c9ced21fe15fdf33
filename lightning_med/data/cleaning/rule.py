"""A cleaning rule, and its application to a column of texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

COLUMNS = ("question", "answer")
_MAX_PASSES = 10


def _find_none(frame: pd.DataFrame) -> np.ndarray:
    return np.zeros(len(frame), dtype=bool)


@dataclass(frozen=True)
class Rule:
    """A cleaning rule: it drops rows or repairs texts.

    Attributes:
        name: Its name in the settings.
        effect: `drops` rows or `repairs` texts.
        default: Whether it is on by default. A rule that drops and is off still counts.
        prefilter: For a rule that repairs: an RE2 pattern; texts without a match stay as they are. RE2 runs in linear
            time on a whole column, so that a rule costs little on clean text. Its white space is ASCII: no repair may
            depend on other white space.
        repair: For a rule that repairs: returns the repaired text.
        find_rows: For a rule that drops: `[rows]`, bool, the rows to drop.
    """

    name: str
    effect: Literal["drops", "repairs"]
    default: bool = True
    prefilter: str = ""
    repair: Callable[[str], str] = str
    find_rows: Callable[[pd.DataFrame], np.ndarray] = _find_none


def find_matching(texts: pd.Series, pattern: str) -> np.ndarray:
    """Returns `[rows]`, bool: which texts an RE2 pattern matches anywhere."""
    column = pa.array(texts, pa.large_string(), from_pandas=True)
    return pc.match_substring_regex(column, pattern).fill_null(False).to_numpy(zero_copy_only=False)


def repair_column(texts: pd.Series, rule: Rule) -> tuple[pd.Series, np.ndarray]:
    """Applies a rule to a column.

    Returns:
        The repaired texts, and `[rows]`, bool: which of them changed.
    """
    changed = find_matching(texts, rule.prefilter)
    positions = np.flatnonzero(changed)
    if not len(positions):
        return texts, changed
    values = texts.to_numpy(dtype=object, copy=True)
    for position in positions:
        text = rule.repair(values[position])
        changed[position] = text != values[position]
        values[position] = text
    return pd.Series(values, index=texts.index, dtype=texts.dtype), changed


def repair_until_stable(repair: Callable[[str], str]) -> Callable[[str], str]:
    """Repeats a repair that may uncover more to repair, until it changes nothing.

    A text that takes more than `_MAX_PASSES` passes stays as it was.
    """

    @wraps(repair)
    def repeat(text: str) -> str:
        last = text
        for _ in range(_MAX_PASSES):
            repaired = repair(last)
            if repaired == last:
                return repaired
            last = repaired
        return text

    return repeat
