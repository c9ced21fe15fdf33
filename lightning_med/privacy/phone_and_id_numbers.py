"""Phone numbers, card numbers and national identity numbers, among doses, dates and laboratory values.

A run of digits is split into groups. The longest sequence of groups that `classify_number` accepts is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lightning_med.privacy.number_kinds import PHONE, classify_number, find_number_cues

_SEPARATORS = r"[ \xa0().\-–‑+]{0,3}"
_SIX_DIGITS = re.compile(rf"\d(?:{_SEPARATORS}\d){{5}}")
_RUN = re.compile(rf"[+(]{{0,2}}\d(?:{_SEPARATORS}\d){{6,}}")
_MAX_GROUPS = 60  # a longer run is a table of values
_MIN_DIGITS, _MAX_DIGITS = 7, 19
_GROUP = re.compile(r"\d+")
_NO_DIGITS = bytes(code for code in range(256) if not chr(code).isdecimal())
_EXTENSION = re.compile(r"(?:\)|,)?\s{0,2}\(?(?:ext(?:ension)?|x)\s?[.:]?\s?\d{1,6}(?!\d)\)?", re.IGNORECASE)
_NATIONAL_INSURANCE = re.compile(
    r"(?<![A-Za-z0-9])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
    r"(?:\d{6}|[ -]\d\d[ -]\d\d[ -]\d\d[ -]|[ -]?\d{6}[ -]?|\d\d[ -]\d\d[ -]\d\d[ -]?)[A-D](?![A-Za-z0-9])"
)
SUSPECT = (
    rf"\d(?:{_SEPARATORS}\d){{6}}"
    r"|[A-CEGHJ-PR-TW-Z]{2}[ -]?\d\d[ -]?\d\d[ -]?\d\d[ -]?[A-D]"
)


def find_numbers(text: str) -> Iterator[tuple[int, int, str]]:
    """Yields start, end and kind (`PHONE`, `CARD`, `NATIONAL_ID`) of every number."""
    if text.isascii() and len(text.encode().translate(None, _NO_DIGITS)) < 6:  # fast for most texts
        return
    if not _SIX_DIGITS.search(text):
        return
    for run in _RUN.finditer(text):
        groups = [group.span() for group in _GROUP.finditer(text, run.start(), run.end())]
        first = 0 if len(groups) <= _MAX_GROUPS else len(groups)
        while first < len(groups):
            if number := _find_longest(text, groups, first):
                start, end, kind, first = number
                yield start, end, kind
            else:
                first += 1
    for match in _NATIONAL_INSURANCE.finditer(text):
        yield match.start(), match.end(), "NATIONAL_ID"


def _find_longest(text: str, groups: list[tuple[int, int]], first: int) -> tuple[int, int, str, int] | None:
    """Start, end and kind of the longest number that begins at a group, and the index of the group after it."""
    start = groups[first][0]
    if start and (text[start - 1].isalnum() or text[start - 1] in "_/:=" or _is_decimal(text, start)):
        return None
    # Only digits precede the other groups.
    cues: frozenset[str] = find_number_cues(text, start) if first == 0 else frozenset()
    total, stop = 0, first
    while stop < len(groups) and stop < first + 7 and total <= _MAX_DIGITS:
        total += groups[stop][1] - groups[stop][0]
        stop += 1
    for last in range(stop, first, -1):
        end = groups[last - 1][1]
        parts = [text[low:high] for low, high in groups[first:last]]
        if not _MIN_DIGITS <= sum(map(len, parts)) <= _MAX_DIGITS or _is_continued(text, end):
            continue
        alone = (first == 0 or _is_apart(text, groups, first)) and (
            last == len(groups) or _is_apart(text, groups, last)
        )
        if kind := classify_number(text, (start, end), parts, alone, cues):
            return *(_extend_phone(text, start, end) if kind == PHONE else (start, end)), kind, last
    return None


def _is_decimal(text: str, start: int) -> bool:
    return start >= 2 and text[start - 1] in ".," and text[start - 2].isdigit()


def _is_continued(text: str, end: int) -> bool:
    """Whether a decimal, a time, a fraction or a code follows."""
    after = text[end : end + 2]
    return bool(after) and (after[0].isdigit() or (after[0] in ".,:/" and after[1:].isdigit()) or after[0] == "_")


def _is_apart(text: str, groups: list[tuple[int, int]], index: int) -> bool:
    """Whether more separates a group from the one before than the separators within one number."""
    between = text[groups[index - 1][1] : groups[index][0]]
    return len(between.strip("()")) > 1 or "(" in between


def _extend_phone(text: str, start: int, end: int) -> tuple[int, int]:
    """The span of a phone number with its plus, its brackets and its extension."""
    for sign in ("(", "+", "("):
        if start and text[start - 1] == sign and (sign == "+" or ")" in text[start : end + 1]):
            start -= 1
    if end < len(text) and text[end] == ")" and "(" in text[start:end] and ")" not in text[start:end]:
        end += 1
    extension = _EXTENSION.match(text, end)
    return start, extension.end() if extension else end
