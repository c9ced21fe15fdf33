"""Invisible characters, and characters decoded with a wrong encoding."""

from __future__ import annotations

import re

_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u00ad\u202a-\u202e\u2066-\u2069\u200e\u200f]")
_JOINERS = re.compile("(?<![^\x00-\x7f])[\u200c\u200d]+(?![^\x00-\x7f])")  # outside ASCII they have a meaning
_BETWEEN_DIGITS = re.compile("(?<=\\d)[\u200b\u2060\ufeff]+(?=\\d)")  # it separates two numbers
_SOFT_RANGE = re.compile(r"(?<=\d)\xad+(?=\d)")  # a soft hyphen meant as a hyphen, as in "2\xad3 times"


def repair_invisible(text: str) -> str:
    """Removes invisible characters that split words or change the direction of writing."""
    text = _BETWEEN_DIGITS.sub(" ", _SOFT_RANGE.sub("-", text))
    return _JOINERS.sub("", _INVISIBLE.sub("", text))


def repair_mojibake(text: str) -> str:
    """Repairs UTF-8 that was decoded as Latin-1 or Windows-1252, with ftfy."""
    import ftfy

    return ftfy.fix_encoding(text)
