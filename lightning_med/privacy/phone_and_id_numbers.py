"""Telephone, card and identity numbers among doses, dates and laboratory values.

A run of digits is cut into groups; a window of groups is a number when its shape is one people write (3-3-4, 5-5, …)
and the issuer's own rule holds: a numbering plan, a checksum. Beside a word such as "call" any seven digits will do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_RUN = re.compile(r"[+(]{0,2}\d(?:[ \xa0().\-–‑+]{0,3}\d){6,}")
_MOST_GROUPS = 60  # a longer run is a table of values
_GROUP = re.compile(r"\d+")
_MANY = re.compile(
    r"\d[ \xa0().\-–‑+]{0,3}\d[ \xa0().\-–‑+]{0,3}\d[ \xa0().\-–‑+]{0,3}\d[ \xa0().\-–‑+]{0,3}\d[ \xa0().\-–‑+]{0,3}\d"
)
_NO_DIGITS = bytes(code for code in range(256) if not chr(code).isdecimal())
_EXTENSION = re.compile(r"(?:\)|,)?\s{0,2}\(?(?:ext(?:ension)?|x)\s?[.:]?\s?\d{1,6}(?!\d)\)?", re.IGNORECASE)
_UNIT = re.compile(
    r"\s{0,2}(?:-\s?)?(?:[/%°]|(?:mg|mcg|µg|ug|gm?s?|kgs?|lbs?|ml|cc|mm|cm|km|iu|i\.u|u|units?|cells?|copies|per|lakhs?|lacs?|"
    r"cumm|k|x\s?10|rs|rupees|dollars|usd|inr|platelets?|miles|steps|cal(?:ories)?|kcal|bpm|[mnµu]?iu|m?u|[mnp]g|[µunp]?mol|meq|days?|weeks?|years?|yrs?|hours?)\b)",
    re.IGNORECASE,
)
_CALL_WORDS = (
    r"(?:call|phone|ph|tele?phone|tel|mobile|mob|whats\s?app|contact no|fax|text me|sms|helpline|dial|cell\s?"
    r"(?:phone|no|number|#|is|:)|my cell|(?:my|his|her|our|the) (?:number|no\.?|num) is|number\s?:)"
)
# "ring", "reach" and "contact" are said of other things too: only the number itself may follow them.
_CALL = re.compile(
    rf"(?<![a-z])(?:{_CALL_WORDS}(?![a-z])[^\d\n]{{0,30}}"
    r"|(?:reach|contact|ring)(?:ed|ing)?(?:\s(?:me|us|him|her|them|you|details?))?(?:\s(?:at|on|via|by|is|number))*\s?[:.-]?\s?)\Z",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"(?:count|platelet|copies|viral|load|sperm|range|dose"
    r"|\b(?:[wr]bcs?|tlc|hcg|tsh|psa|ige|crp|esr|cpk|ck|ldh|sgo?pt|sgot|alt|ast|alp|ferritin|b-?12|glucose|sugars?|insulin|prolactin"
    r"|testosterone|amylase|lipase|troponin|bnp|d-?dimer|leu[ck]ocytes|neutrophils|lymphocytes|creatinine|levels?|values?|readings?)\b)"
    r"[^\d\n.;]{0,25}\Z",
    re.IGNORECASE,
)
_SSN = re.compile(r"(?:\bssn?\b|social\s+(?:security|is|number|no|#))[^\d\n]{0,25}\Z", re.IGNORECASE)
_NHS = re.compile(r"\bnhs\b[^\d\n]{0,25}\Z", re.IGNORECASE)
_AADHAAR = re.compile(r"\b(?:aadh?aa?r|adhaa?r|uidai|uid)\b[^\d\n]{0,25}\Z", re.IGNORECASE)
_CUES = {"call": _CALL, "counted": _COUNTED, "ssn": _SSN, "nhs": _NHS, "aadhaar": _AADHAAR}
_CARD = re.compile(r"(?:4|5[1-5]|2[2-7]|3[04-9]|6011|64[4-9]|65|62|50|5[6-8]|67)")
_NINO = re.compile(
    r"(?<![A-Za-z0-9])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
    r"(?:\d{6}|[ -]\d\d[ -]\d\d[ -]\d\d[ -]|[ -]?\d{6}[ -]?|\d\d[ -]\d\d[ -]\d\d[ -]?)[A-D](?![A-Za-z0-9])"
)
SUSPECT = (
    r"\d(?:[ \xa0().\-–‑+]{0,3}\d){6}"
    r"|[A-CEGHJ-PR-TW-Z]{2}[ -]?\d\d[ -]?\d\d[ -]?\d\d[ -]?[A-D]"
)
_SHAPES = {
    (10,),
    (3, 3, 4),
    (3, 7),
    (5, 5),
    (3, 4, 3),
    (1, 3, 3, 4),
    (11,),
    (1, 10),
    (12,),
    (2, 10),
    (2, 5, 5),
    (2, 3, 3, 4),
}


def find_numbers(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and kind of every telephone, card and identity number."""
    if text.isascii() and len(text.encode().translate(None, _NO_DIGITS)) < 6:  # passes over most texts at once
        return
    if not _MANY.search(text):
        return
    for run in _RUN.finditer(text):
        groups = [group.span() for group in _GROUP.finditer(text, run.start(), run.end())]
        at = 0 if len(groups) <= _MOST_GROUPS else len(groups)
        while at < len(groups):
            found = _keep_longest(text, groups, at)
            if found:
                yield found[0], found[1], found[2]
            at = found[3] if found else at + 1
    for nino in _NINO.finditer(text):
        yield nino.start(), nino.end(), "NATIONAL_ID"


def _keep_longest(text: str, groups: list[tuple[int, int]], at: int) -> tuple[int, int, str, int] | None:
    """The longest number that begins at a group, with the index of the group after it."""
    start = groups[at][0]
    if start and (text[start - 1].isalnum() or text[start - 1] in "_/:=" or _is_decimal(text, start)):
        return None
    cues: frozenset[str] = _find_cues(text, start) if at == 0 else frozenset()  # inside a run only digits stand before
    total, stop = 0, at
    while stop < len(groups) and stop < at + 7 and total <= 19:
        total += groups[stop][1] - groups[stop][0]
        stop += 1
    for last in range(stop, at, -1):
        end = groups[last - 1][1]
        digits = "".join(text[a:b] for a, b in groups[at:last])
        if not 7 <= len(digits) <= 19 or _continues(text, end):
            continue
        shape = tuple(b - a for a, b in groups[at:last])
        alone = (at == 0 or _split_apart(text, groups, at)) and (
            last == len(groups) or _split_apart(text, groups, last)
        )
        kind = _classify(text, (start, end), digits, shape, alone, cues)
        if kind:
            start, end = _trim_edges(text, start, end, kind)
            return start, end, kind, last
    return None


def _find_cues(text: str, start: int) -> frozenset[str]:
    """What the words before a number call it."""
    before = text[max(start - 60, 0) : start].rstrip("+( ")
    found = {name: cue.start() for name, words in _CUES.items() if (cue := words.search(before))}
    if found.keys() >= {"call", "counted"}:  # the nearer one
        del found["counted" if found["call"] > found["counted"] else "call"]
    return frozenset(found)


def _classify(
    text: str, span: tuple[int, int], digits: str, shape: tuple[int, ...], alone: bool, cues: frozenset[str]
) -> str:
    start, end = span
    written = text[start:end]
    plus = text[max(start - 2, 0) : start].rstrip("(").endswith("+")
    if len(shape) > 5 and max(shape) < 3 and not plus:
        return ""  # a list of values
    called, counted = "call" in cues, "counted" in cues
    if _is_identity(written, digits, shape, cues):
        return "NATIONAL_ID"
    if not counted and len(digits) >= 13 and len(set(digits)) > 1 and _is_card(digits, shape):
        return "CARD"
    abroad = plus or digits.startswith("00")
    if abroad and 9 <= len(digits) <= 17 and _is_valid(f"+{digits.lstrip('0')}", None, not plus):
        return "PHONE"
    if _UNIT.match(text, end):
        return ""
    if called and len(digits) <= 15 and len(shape) <= 6 and not _is_date_or_range(written, shape):
        return "PHONE"
    counted = counted and not (shape == (3, 3, 4) and (written.count("-") == 2 or ")" in written))
    return "PHONE" if alone and not counted and _is_national(text, start, end, digits, shape) else ""


def _is_identity(written: str, digits: str, shape: tuple[int, ...], cues: frozenset[str]) -> bool:
    from stdnum.gb import nhs
    from stdnum.in_ import aadhaar
    from stdnum.us import ssn

    if len(digits) == 9 and ("ssn" in cues or (shape == (3, 2, 4) and written.count("-") == 2)):
        return "ssn" in cues or ssn.is_valid(written)
    if shape in ((3, 3, 4), (10,)):
        spaced = len(shape) == 3 and written[3] + written[7] == "  " and digits[-2:] != "00"
        return "nhs" in cues or (spaced and not cues & {"call", "counted"} and nhs.is_valid(digits))
    if shape in ((4, 4, 4), (12,)):
        values = all(digits[at : at + 2] == "00" for at in (2, 6, 10))
        said = len(shape) == 3 and not values and "counted" not in cues
        return "aadhaar" in cues or (said and aadhaar.is_valid(digits))
    return False


def _is_card(digits: str, shape: tuple[int, ...]) -> bool:
    from stdnum import luhn

    grouped = len(shape) == 1 or (len(shape) <= 5 and all(size >= 4 for size in shape[:-1]))
    return grouped and bool(_CARD.match(digits)) and luhn.is_valid(digits)


def _is_national(text: str, start: int, end: int, digits: str, shape: tuple[int, ...]) -> bool:
    """Written as people of these countries write numbers, and in their numbering plans."""
    written = text[start:end]
    if not 10 <= len(digits) <= 12 or digits.endswith("00000") or len(set(digits)) < 3 or len(shape) > 4:
        return False
    if "." in written and not re.fullmatch(r"(?:1\.)?\d{3}\.\d{3}\.\d{4}", written):
        return False
    if digits.endswith("000") and 1 < len(shape) <= 3 and digits[0] != "0":
        return False  # "250 350 4000"
    if len(shape) == 2 and written.endswith("00"):
        return False  # "70000-90000"
    if digits[0] == "0" and len(digits) <= 11:
        return min(shape) >= 2 and any(_is_valid(digits, region, True) for region in ("GB", "IN", "AU"))
    if shape not in _SHAPES or (shape == (3, 7) and "(" not in text[max(start - 1, 0) : start] and "-" not in written):
        return False
    if len(digits) == 10:
        us = _is_valid(digits, "US", True) and (shape != (5, 5))
        return us or (shape in ((10,), (5, 5), (3, 3, 4), (3, 7), (3, 4, 3)) and _is_valid(digits, "IN", True))
    if len(digits) == 11:
        return digits[0] == "1" and _is_valid(digits[1:], "US", True)
    return digits.startswith("91") and _is_valid(digits[2:], "IN", True)


@lru_cache(maxsize=4096)
def _is_valid(digits: str, region: str | None, strictly: bool) -> bool:
    import phonenumbers

    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number) if strictly else phonenumbers.is_possible_number(number)


def _is_date_or_range(written: str, shape: tuple[int, ...]) -> bool:
    if len(shape) == 3 and (shape[0] == 4 or shape[2] in (2, 4)) and max(shape[1], min(shape[0], shape[2])) <= 2:
        return True
    return len(shape) == 2 and shape[0] >= 4 and "-" in written and written.endswith("00")


def _is_decimal(text: str, start: int) -> bool:
    return start >= 2 and text[start - 1] in ".," and text[start - 2].isdigit()


def _continues(text: str, end: int) -> bool:
    """A decimal, a time, a fraction or a code follows."""
    after = text[end : end + 2]
    return bool(after) and (after[0].isdigit() or (after[0] in ".,:/" and after[1:].isdigit()) or after[0] == "_")


def _split_apart(text: str, groups: list[tuple[int, int]], at: int) -> bool:
    """Whether the group at an index is parted from the one before by more than one number's own separators."""
    between = text[groups[at - 1][1] : groups[at][0]]
    return len(between.strip("()")) > 1 or "(" in between


def _trim_edges(text: str, start: int, end: int, kind: str) -> tuple[int, int]:
    """With a leading plus and brackets, and with the extension."""
    if kind != "PHONE":
        return start, end
    for sign in ("(", "+", "("):
        if start and text[start - 1] == sign and (sign == "+" or ")" in text[start : end + 1]):
            start -= 1
    if end < len(text) and text[end] == ")" and "(" in text[start:end] and ")" not in text[start:end]:
        end += 1
    extension = _EXTENSION.match(text, end)
    return start, extension.end() if extension else end
