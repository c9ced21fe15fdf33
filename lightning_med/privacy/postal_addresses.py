"""Postal addresses: a house number before a street, a box, a flat, or what follows "my address is"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lightning_med.privacy.common_words import make_word_set

_FULL = (
    "street|road|avenue|lane|boulevard|nagar|marg|colony|chowk|vihar|enclave"  # what even lower-case text may end in
)
_CAPITAL = (
    "Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Boulevard|Blvd|Drive|Terrace|Crescent|Parkway|Pkwy|Highway|Hwy|Nagar|Marg|Colony|"
    "Chowk|Vihar|Enclave|Layout|Gardens|Grove|Mews"
)
_SHORT = (
    "Dr|Ct|Pl|Way|Court|Place|Close|Square|Circle|Hill|Row"  # other things too: only before a comma or a line's end
)
_NUMBER = r"\d(?<![\w.,/:%-].)\d{0,4}[A-Za-z]?(?:[-/]\d{1,4}[A-Za-z]?){0,2},?\s{1,2}"
_WORD = r"(?:[A-Z][\w'’.]{0,24}|\d{1,3}(?:st|nd|rd|th))"
_STREET = re.compile(
    rf"{_NUMBER}(?:{_WORD}[ ]{{1,2}}){{1,4}}(?:(?:{_CAPITAL})(?![\w'’])\.?|(?:{_SHORT})\.?(?=[,\n]|\Z))"
)
_STREET_LOWER = re.compile(
    rf"{_NUMBER}(?P<words>(?:[a-z][a-z'’]{{1,24}}|\d{{1,3}}(?:st|nd|rd|th))(?:[ ](?:[a-z][a-z'’]{{1,24}})){{0,2}})[ ]"
    rf"(?:{_FULL}|(?:st|rd|ave|blvd)(?= ?[,.\n]))(?![\w'’])"
    r"(?!\s+(?:trip|dog|food|accident|test|traffic|race|bike|vendor|smart|side|work|rage|rash|block))",
)
_TYPE = re.compile(rf" (?:{_CAPITAL}|{_SHORT}|{_FULL}|(?:st|rd|ave|blvd) ?[,.\n])")
_FLAT_WORDS = ("flat", "apt", "apartment", "plot", "door", "house", "h.no", "h. no", "d.no", "d. no")
_SAID_WORDS = ("address", "live at", "living at", "resid", "reside at", "stay at")
_NOT_STREET = make_word_set(
    "the a an in on of to at by for from my your his her our this that down up off along across miles mile km "
    "kms mg ml mcg minutes minute min mins hours hour hrs hr days day weeks week months month years year yrs "
    "yr times time cm mm kg kgs lbs or and with after before different busy long old feet foot ft meters "
    "metres people men women kids children dogs way tablets tablet tabs blocks lakh units pm am star lane"
)
_NEVER = make_word_set("per my your his her with and from by as see")  # "40 Lipitor Per My Dr"
_BOX = re.compile(r"(?<![\w])(?:p\.?\s?o\.?|post\s+office)\s?box\s*(?:no\.?|#|:)?\s*\d{1,6}(?!\d)", re.IGNORECASE)
_FLAT = re.compile(
    r"(?<![\w])(?:flat|apt\.?|apartment|plot|door|house|h\.|d\.)\s*(?:no\.?|number|#)\s*[:-]?\s*\w{0,2}[-/]?\d{1,5}\w?(?:[-/]\w{1,5}){0,3}"
    r"|(?<![\w])(?:Flat|Apt\.?|Apartment)\s\w?-?\d{1,4}[A-Za-z]?(?=,)",
    re.IGNORECASE,
)
_UK = r"[A-PR-UWYZ][A-HK-Y]?\d[\dA-HJKPSTUW]?\s?\d[ABD-HJLNP-UW-Z]{2}"
_POSTCODE = re.compile(
    rf"(?<![\w])(?:(?i:post\s?codes?|zip(?:\s?code)?|pin\s?code|postal\s?code)\s*(?i:is|no\.?|number)?\s*[:=-]?\s*)"
    rf"(?P<code>(?i:{_UK})|\d{{5}}(?:-\d{{4}})?|\d{{3}}\s?\d{{3}})(?![\w])"
)
_TAIL_WORDS = re.compile(
    r"(?:\s?,\s*|\s?\n\s*|[ ])(?P<part>[A-Z][A-Za-z'’.-]{1,24}(?!\w)(?:[ ][A-Z][A-Za-z'’.-]{1,24}(?!\w)){0,2})"
    r"(?=\s?(?:,|-|\n|\d|[A-Z]{2}\b|[A-Z]{1,2}\d|[.;)]|\Z|\s[a-z]))"
)
_TAIL_UNIT = re.compile(r",?\s{1,2}(?:apt|apartment|suite|ste|unit|flat|floor|#)\.?\s?#?\w{1,5}(?![\w])", re.IGNORECASE)
_TAIL_CODE = re.compile(
    rf"\s?[,-]?\s*(?:[A-Z]{{2}},?\s{{1,2}}\d{{5}}(?:-\d{{4}})?|{_UK}|\d{{5}}(?:-\d{{4}})?|\d{{3}}\s?\d{{3}}|[A-Z]{{2}})(?![\w])"
)
_SAID = re.compile(
    r"(?<![\w])(?:(?:my|our|home|postal|mailing|residential)\s+(?:home\s+|postal\s+|full\s+|current\s+)?address\s*(?:is|:|-)\s*[:-]?\s*"
    r"|(?:i[ ]+live|i[ ]+reside|i[ ]+stay|residing|we[ ]+live|living)[ ]at\s(?=[^\n.]{0,12}\d))",
    re.IGNORECASE,
)
_SAID_END = re.compile(
    r"[;!?\n\x00\[]|\.(?=\s|\Z)|,?\s(?:and|but|with|since|because|where|for|my|please|i|is|phone|mobile|email|e-mail|call|contact)\s",
    re.IGNORECASE,
)
_HEIGHT = re.compile(
    r"(?:[\w,']{1,12}\s){0,2}\d[\d,.]*\s?(?:feet|ft|foot|m|meters?|metres?|km|miles?|%|altitude|degrees|o'?clock|am|pm|years?)\b",
    re.IGNORECASE,
)

SUSPECT = (
    rf"[ \xa0](?:(?:{_CAPITAL}|{_FULL}|(?:st|rd|ave|blvd) ?[,.\n])(?:[^\w'’]|$)|(?:{_SHORT})\.?(?:[,\n]|$))"
    r"|(?i:\bp\.?\s?o\.?\s?box|post\s+office\s?box|post\s?code|zip\s|zip\s?code|pin\s?code|postal\s?code"
    r"|[^l] address\s*(?:is|:|-)|liv(?:e|ing)\s+at\s|resid(?:e|ing)\s+at\s|stay\s+at\s)"
    r"|(?i:(?:flat|apt\.?|apartment|plot|door|house|[^a-z][hd]\.)\s*(?:no\.?|number|#)\s*[:-]?\s*\w?\w?[-/]?\d"
    r"|(?:flat|apt\.?|apartment)\s\w?-?\d)"
)


def find_addresses(text: str, low: str, ordinary: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Start and end of every address, its town and postcode with it.

    Args:
        text: Any text.
        ordinary: Lower-case words: a capital after the street is the town only where it is none of them.
    """
    patterns = [_STREET, _STREET_LOWER] if _TYPE.search(text) else []
    patterns += [_BOX] if "box" in low else []
    patterns += [_FLAT] if any(word in low for word in _FLAT_WORDS) else []
    for pattern in patterns:
        for street in pattern.finditer(text):
            if _is_street(street, ordinary):
                yield street.start(), _extend_to_town(text, street.end(), ordinary)
    for code in _POSTCODE.finditer(text) if "code" in low or "zip" in low else ():
        yield code.span("code")
    for cue in _SAID.finditer(text) if any(word in low for word in _SAID_WORDS) else ():
        if not _HEIGHT.match(text, cue.end()):
            end = _SAID_END.search(text, cue.end(), cue.end() + 120)
            stop = end.start() if end else min(cue.end() + 120, len(text))
            if sum(sign.isalnum() for sign in text[cue.end() : stop]) >= 4:
                yield cue.end(), cue.end() + len(text[cue.end() : stop].rstrip(" ,.-"))


def _is_street(found: re.Match[str], ordinary: frozenset[str]) -> bool:
    words = re.findall(r"[A-Za-z]+", found[0])
    if found.re is _STREET:
        return bool(words) and words[0].lower() not in _NOT_STREET and not _NEVER & {word.lower() for word in words}
    return found.re is not _STREET_LOWER or not _NOT_STREET & set(found["words"].split())


def _extend_to_town(text: str, end: int, ordinary: frozenset[str]) -> int:
    for _ in range(6):
        piece = _TAIL_UNIT.match(text, end) or _TAIL_CODE.match(text, end) or _TAIL_WORDS.match(text, end)
        if not piece:
            break
        if piece.re is _TAIL_WORDS and any(
            w.lower().strip(".") in ordinary and w.lower() not in _TOWNS for w in piece["part"].split()
        ):
            break
        end = piece.end()
    return end


_TOWNS = make_word_set(
    "delhi mumbai london new york india england australia canada america north south east west park green hill"
)
