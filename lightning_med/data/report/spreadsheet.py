"""Tables that people open in a spreadsheet: a cell that reads as a formula is disarmed, and can be armed again.

A spreadsheet runs what begins with `=`, `+`, `-` or `@`, also in full width or behind a tab or a line's end (OWASP, CSV
Injection); an apostrophe before it makes it text.
"""

from __future__ import annotations

import re

import pandas as pd

_ARMED = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def disarm(text: str) -> str:
    """A text that a spreadsheet takes for a text; `armed` gives back the original."""
    return f"'{text}" if _ARMED.match(text) else text


def is_armed(text: str) -> str:
    """The original of a text of `disarmed`."""
    return text[1:] if text.startswith("'") and _ARMED.match(text[1:]) else text


def write_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV for people: every text disarmed, with the mark by which spreadsheets know UTF-8."""
    safe = frame.map(lambda cell: disarm(cell) if isinstance(cell, str) else cell)
    return "\ufeff" + safe.to_csv(index=False, lineterminator="\r\n")
