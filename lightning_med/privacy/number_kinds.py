"""The kind of a number: phone, card, national identity number or none, by its shape, its cues and its checksum.

The shape is how many digits each group has. A number needs a shape that people write (3-3-4, 5-5, …) and must be valid:
in a numbering plan or by a checksum. After a cue such as "call" any seven digits are a phone number.
"""

from __future__ import annotations

import re
from functools import lru_cache

PHONE = "PHONE"
_UNIT = re.compile(
    r"\s{0,2}(?:-\s?)?(?:[/%°]|(?:mg|mcg|µg|ug|gm?s?|kgs?|lbs?|ml|cc|mm|cm|km|iu|i\.u|u|units?|cells?|copies|per|lakhs?|lacs?|"
    r"cumm|k|x\s?10|rs|rupees|dollars|usd|inr|platelets?|miles|steps|cal(?:ories)?|kcal|bpm|[mnµu]?iu|m?u|[mnp]g|[µunp]?mol|meq|days?|weeks?|years?|yrs?|hours?)\b)",
    re.IGNORECASE,
)
_CALL_WORDS = (
    r"(?:call|phone|ph|tele?phone|tel|mobile|mob|whats\s?app|contact no|fax|text me|sms|helpline|dial|cell\s?"
    r"(?:phone|no|number|#|is|:)|my cell|(?:my|his|her|our|the) (?:number|no\.?|num) is|number\s?:)"
)
# "ring", "reach" and "contact" have other meanings: only the number itself may follow them.
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
_NATIONAL_SHAPES = {
    *((10,), (3, 3, 4), (3, 7), (5, 5), (3, 4, 3), (1, 3, 3, 4)),
    *((11,), (1, 10), (12,), (2, 10), (2, 5, 5), (2, 3, 3, 4)),
}


def find_number_cues(text: str, start: int) -> frozenset[str]:
    """Returns which cues precede a number: `call`, `counted`, `ssn`, `nhs`, `aadhaar`."""
    before = text[max(start - 60, 0) : start].rstrip("+( ")
    starts = {name: cue.start() for name, pattern in _CUES.items() if (cue := pattern.search(before))}
    if starts.keys() >= {"call", "counted"}:  # the nearer one counts
        del starts["counted" if starts["call"] > starts["counted"] else "call"]
    return frozenset(starts)


def classify_number(text: str, span: tuple[int, int], groups: list[str], alone: bool, cues: frozenset[str]) -> str:
    """Returns the kind of a number: `PHONE`, `CARD`, `NATIONAL_ID`, or an empty string.

    Args:
        text: Any text.
        span: Start and end of the number.
        groups: Its digits.
        alone: No other group of digits stands directly beside it.
        cues: From `find_number_cues`.
    """
    start, end = span
    written, digits, shape = text[start:end], "".join(groups), tuple(map(len, groups))
    plus = text[max(start - 2, 0) : start].rstrip("(").endswith("+")
    if len(shape) > 5 and max(shape) < 3 and not plus:
        return ""  # a list of values
    counted = "counted" in cues
    if _is_identity(written, digits, shape, cues):
        return "NATIONAL_ID"
    if not counted and len(digits) >= 13 and len(set(digits)) > 1 and _is_card(digits, shape):
        return "CARD"
    abroad = plus or digits.startswith("00")
    if abroad and 9 <= len(digits) <= 17 and _is_valid(f"+{digits.lstrip('0')}", None, not plus):
        return PHONE
    if _UNIT.match(text, end):
        return ""
    if "call" in cues and len(digits) <= 15 and len(shape) <= 6 and not _is_date_or_range(written, shape):
        return PHONE
    counted = counted and not (shape == (3, 3, 4) and (written.count("-") == 2 or ")" in written))
    return PHONE if alone and not counted and _is_national(text, start, end, digits, shape) else ""


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
        plain = len(shape) == 3 and not values and "counted" not in cues
        return "aadhaar" in cues or (plain and aadhaar.is_valid(digits))
    return False


def _is_card(digits: str, shape: tuple[int, ...]) -> bool:
    from stdnum import luhn

    grouped = len(shape) == 1 or (len(shape) <= 5 and all(size >= 4 for size in shape[:-1]))
    return grouped and bool(_CARD.match(digits)) and luhn.is_valid(digits)


def _is_national(text: str, start: int, end: int, digits: str, shape: tuple[int, ...]) -> bool:
    """Whether a number is written as in the US, India, the UK or Australia, and in the country's numbering plan."""
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
    bracket = "(" in text[max(start - 1, 0) : start]
    if shape not in _NATIONAL_SHAPES or (shape == (3, 7) and not bracket and "-" not in written):
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
