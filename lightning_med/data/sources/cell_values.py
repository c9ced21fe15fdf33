"""What the cells of a table mean: missing values, lists written as text, numbers of patients."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from lightning_med.data.sources.table_places import WORKBOOKS, get_format

# What pandas writes and reads for a missing value; the same as in its `read_csv`.
_WORDS = {
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
}
# The same in a format that has a value of its own for it; in a conversation "None." may be a patient's reply.
_WORDS_OF_TYPED_TABLES = {"nan", "NaN", "<NA>", "None"}
_WORDS_OF_MESSAGES = {"nan", "NaN", "<NA>"}
_WORDS_OF_PATIENTS = {"nan", "NaN", "<NA>", "N/A", "n/a", "null", "NULL"}  # NA and None may be initials and names
_UNTYPED = (".csv", ".tsv", *WORKBOOKS)  # pandas reads the first words in them
_WHOLE_NUMBER = re.compile(r"\+?(-?(?:0|[1-9][0-9]*))(?:\.0*)?")
_LARGE_FLOAT = re.compile(r"-?[1-9](?:\.[0-9]+)?e\+[0-9]{2,3}")  # as Python writes it, from 1e+16


def blank_missing(cells: Iterable[Any], path: Path) -> list[Any]:
    """Replaces words for a missing value, such as `nan`, by `None`; a longer text that holds one stays.

    Args:
        cells: Of a column.
        path: The file; its format decides the words.
    """
    words = _WORDS if get_format(path) in _UNTYPED else _WORDS_OF_TYPED_TABLES
    return [None if isinstance(cell, str) and cell.strip() in words else cell for cell in cells]


def blank_missing_text(text: str) -> str | None:
    """Does the same to the text of a conversation's turn."""
    return None if text.strip() in _WORDS_OF_MESSAGES else text


def is_list(text: str) -> bool:
    """Returns whether a text is a list or an object as Python or JSON writes it; `[PHONE] Call me.` is not."""
    text = text.strip()
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return False
    for parse in (json.loads, _evaluate):
        try:
            return isinstance(parse(text), (list, tuple, dict, set))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return False


def _evaluate(text: str) -> Any:
    with warnings.catch_warnings():  # of backslashes in a text that is no Python
        warnings.simplefilter("ignore")
        return ast.literal_eval(text)


def normalize_group(cell: Any) -> str | None:
    """Returns a patient's number or name as text, the same for `7`, `7.0`, `" 7 "` and the number 7.

    A table with an empty cell turns whole numbers into fractions, so that one patient is 7 in a file and 7.0 in
    another. `007` is a name, not the number 7.
    """
    if cell is None or cell != cell:  # NaN
        return None
    text = str(cell).strip()
    if text in _WORDS_OF_PATIENTS:
        return None
    if number := _WHOLE_NUMBER.fullmatch(text):
        return number[1] if number[1] != "-0" else "0"
    return str(int(Decimal(text))) if _LARGE_FLOAT.fullmatch(text) else text or None
