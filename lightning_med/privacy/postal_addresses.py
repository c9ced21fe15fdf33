"""Postal addresses: a house number and a street, a box, a flat, a postcode, or the words after "my address is"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lightning_med.privacy.word_lists import make_word_set

_STREET_TYPES_LOWER = "street|road|avenue|lane|boulevard|nagar|marg|colony|chowk|vihar|enclave"
_STREET_TYPES = (
    "Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Boulevard|Blvd|Drive|Terrace|Crescent|Parkway|Pkwy|Highway|Hwy|Nagar|Marg|Colony|"
    "Chowk|Vihar|Enclave|Layout|Gardens|Grove|Mews"
)
_AMBIGUOUS_TYPES = "Dr|Ct|Pl|Way|Court|Place|Close|Square|Circle|Hill|Row"  # only before a comma or a line's end
_NUMBER = r"\d(?<![\w.,/:%-].)\d{0,4}[A-Za-z]?(?:[-/]\d{1,4}[A-Za-z]?){0,2},?\s{1,2}"
_WORD = r"(?:[A-Z][\w'’.]{0,24}|\d{1,3}(?:st|nd|rd|th))"
_STREET = re.compile(
    rf"{_NUMBER}(?:{_WORD}[ ]{{1,2}}){{1,4}}(?:(?:{_STREET_TYPES})(?![\w'’])\.?|(?:{_AMBIGUOUS_TYPES})\.?(?=[,\n]|\Z))"
)
_STREET_LOWER = re.compile(
    rf"{_NUMBER}(?P<words>(?:[a-z][a-z'’]{{1,24}}|\d{{1,3}}(?:st|nd|rd|th))(?:[ ](?:[a-z][a-z'’]{{1,24}})){{0,2}})[ ]"
    rf"(?:{_STREET_TYPES_LOWER}|(?:st|rd|ave|blvd)(?= ?[,.\n]))(?![\w'’])"
    r"(?!\s+(?:trip|dog|food|accident|test|traffic|race|bike|vendor|smart|side|work|rage|rash|block))",
)
_ANY_TYPE = re.compile(rf" (?:{_STREET_TYPES}|{_AMBIGUOUS_TYPES}|{_STREET_TYPES_LOWER}|(?:st|rd|ave|blvd) ?[,.\n])")
_FLAT_WORDS = ("flat", "apt", "apartment", "plot", "door", "house", "h.no", "h. no", "d.no", "d. no")
_ADDRESS_CUE_WORDS = ("address", "live at", "living at", "resid", "reside at", "stay at")
_NOT_STREET = make_word_set(
    "the a an in on of to at by for from my your his her our this that down up off along across miles mile km "
    "kms mg ml mcg minutes minute min mins hours hour hrs hr days day weeks week months month years year yrs "
    "yr times time cm mm kg kgs lbs or and with after before different busy long old feet foot ft meters "
    "metres people men women kids children dogs way tablets tablet tabs blocks lakh units pm am star lane"
)
_NOT_IN_STREET = make_word_set("per my your his her with and from by as see")  # "40 Lipitor Per My Dr"
_BOX = re.compile(r"(?<![\w])(?:p\.?\s?o\.?|post\s+office)\s?box\s*(?:no\.?|#|:)?\s*\d{1,6}(?!\d)", re.IGNORECASE)
_FLAT = re.compile(
    r"(?<![\w])(?:flat|apt\.?|apartment|plot|door|house|h\.|d\.)\s*(?:no\.?|number|#)\s*[:-]?\s*\w{0,2}[-/]?\d{1,5}\w?(?:[-/]\w{1,5}){0,3}"
    r"|(?<![\w])(?:Flat|Apt\.?|Apartment)\s\w?-?\d{1,4}[A-Za-z]?(?=,)",
    re.IGNORECASE,
)
_UK_CODE = r"[A-PR-UWYZ][A-HK-Y]?\d[\dA-HJKPSTUW]?\s?\d[ABD-HJLNP-UW-Z]{2}"
_POSTCODE = re.compile(
    rf"(?<![\w])(?:(?i:post\s?codes?|zip(?:\s?code)?|pin\s?code|postal\s?code)\s*(?i:is|no\.?|number)?\s*[:=-]?\s*)"
    rf"(?P<code>(?i:{_UK_CODE})|\d{{5}}(?:-\d{{4}})?|\d{{3}}\s?\d{{3}})(?![\w])"
)
_TOWN = re.compile(
    r"(?:\s?,\s*|\s?\n\s*|[ ])(?P<part>[A-Z][A-Za-z'’.-]{1,24}(?!\w)(?:[ ][A-Z][A-Za-z'’.-]{1,24}(?!\w)){0,2})"
    r"(?=\s?(?:,|-|\n|\d|[A-Z]{2}\b|[A-Z]{1,2}\d|[.;)]|\Z|\s[a-z]))"
)
_UNIT = re.compile(r",?\s{1,2}(?:apt|apartment|suite|ste|unit|flat|floor|#)\.?\s?#?\w{1,5}(?![\w])", re.IGNORECASE)
_TOWN_CODE = re.compile(
    rf"\s?[,-]?\s*(?:[A-Z]{{2}},?\s{{1,2}}\d{{5}}(?:-\d{{4}})?|{_UK_CODE}|\d{{5}}(?:-\d{{4}})?|\d{{3}}\s?\d{{3}}|[A-Z]{{2}})(?![\w])"
)
_ADDRESS_CUE = re.compile(
    r"(?<![\w])(?:(?:my|our|home|postal|mailing|residential)\s+(?:home\s+|postal\s+|full\s+|current\s+)?address\s*(?:is|:|-)\s*[:-]?\s*"
    r"|(?:i[ ]+live|i[ ]+reside|i[ ]+stay|residing|we[ ]+live|living)[ ]at\s(?=[^\n.]{0,12}\d))",
    re.IGNORECASE,
)
_ADDRESS_END = re.compile(
    r"[;!?\n\x00\[]|\.(?=\s|\Z)|,?\s(?:and|but|with|since|because|where|for|my|please|i|is|phone|mobile|email|e-mail|call|contact)\s",
    re.IGNORECASE,
)
_NO_ADDRESS = re.compile(
    r"(?:[\w,']{1,12}\s){0,2}\d[\d,.]*\s?(?:feet|ft|foot|m|meters?|metres?|km|miles?|%|altitude|degrees|o'?clock|am|pm|years?)\b",
    re.IGNORECASE,
)

_TOWN_WORDS = make_word_set(
    "delhi mumbai london new york india england australia canada america north south east west park green hill"
)

SUSPECT = (
    rf"[ \xa0](?:(?:{_STREET_TYPES}|{_STREET_TYPES_LOWER}|(?:st|rd|ave|blvd) ?[,.\n])(?:[^\w'’]|$)"
    rf"|(?:{_AMBIGUOUS_TYPES})\.?(?:[,\n]|$))"
    r"|(?i:\bp\.?\s?o\.?\s?box|post\s+office\s?box|post\s?code|zip\s|zip\s?code|pin\s?code|postal\s?code"
    r"|[^l] address\s*(?:is|:|-)|liv(?:e|ing)\s+at\s|resid(?:e|ing)\s+at\s|stay\s+at\s)"
    r"|(?i:(?:flat|apt\.?|apartment|plot|door|house|[^a-z][hd]\.)\s*(?:no\.?|number|#)\s*[:-]?\s*\w?\w?[-/]?\d"
    r"|(?:flat|apt\.?|apartment)\s\w?-?\d)"
)


def find_addresses(text: str, low: str, ordinary: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yields start and end of every address, including its town and postcode.

    Args:
        text: Any text.
        low: The same by `lower_keeping_length`.
        ordinary: Lower-case words; a capitalized word after the street is a town only if it is none of them.
    """
    patterns = [_STREET, _STREET_LOWER] if _ANY_TYPE.search(text) else []
    patterns += [_BOX] if "box" in low else []
    patterns += [_FLAT] if any(word in low for word in _FLAT_WORDS) else []
    for pattern in patterns:
        for street in pattern.finditer(text):
            if _is_street(street):
                yield street.start(), _extend_to_town(text, street.end(), ordinary)
    for code in _POSTCODE.finditer(text) if "code" in low or "zip" in low else ():
        yield code.span("code")
    for cue in _ADDRESS_CUE.finditer(text) if any(word in low for word in _ADDRESS_CUE_WORDS) else ():
        start = cue.end()
        if _NO_ADDRESS.match(text, start):
            continue
        limit = _ADDRESS_END.search(text, start, start + 120)
        address = text[start : limit.start() if limit else start + 120]
        if sum(char.isalnum() for char in address) >= 4:
            yield start, start + len(address.rstrip(" ,.-"))


def _is_street(match: re.Match[str]) -> bool:
    if match.re is _STREET:
        words = [word.lower() for word in re.findall(r"[A-Za-z]+", match[0])]
        return bool(words) and words[0] not in _NOT_STREET and _NOT_IN_STREET.isdisjoint(words)
    return match.re is not _STREET_LOWER or _NOT_STREET.isdisjoint(match["words"].split())


def _extend_to_town(text: str, end: int, ordinary: frozenset[str]) -> int:
    """The end of an address with its flat, its town and its postcode."""
    for _ in range(6):
        part = _UNIT.match(text, end) or _TOWN_CODE.match(text, end) or _TOWN.match(text, end)
        if not part or (part.re is _TOWN and not all(_may_be_town(word, ordinary) for word in part["part"].split())):
            break
        end = part.end()
    return end


def _may_be_town(word: str, ordinary: frozenset[str]) -> bool:
    return word.lower().strip(".") not in ordinary or word.lower() in _TOWN_WORDS
