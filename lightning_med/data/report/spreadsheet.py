"""CSV files for spreadsheets, in which no text is read as a formula.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@`, also as a full-width character or after a tab or a line
break (OWASP, CSV Injection). An apostrophe before it makes it text.
"""

from __future__ import annotations

import re

import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def escape_formula(text: str) -> str:
    """Returns a text that a spreadsheet does not run; `unescape_formula` restores the original."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(text: str) -> str:
    """Returns the original of a text that `escape_formula` returned."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


def format_csv(frame: pd.DataFrame) -> str:
    """Returns a frame as CSV with escaped formulas and the byte order mark by which spreadsheets recognise UTF-8."""
    escaped = frame.map(lambda cell: escape_formula(cell) if isinstance(cell, str) else cell)
    return "\ufeff" + escaped.to_csv(index=False, lineterminator="\r\n")
