"""Names in greetings and signatures, with the phrase that leaves an answer together with the name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from lightning_med.privacy.cue_search import LETTERS as L
from lightning_med.privacy.cue_search import find_cues
from lightning_med.privacy.person_names import GAP, TITLE, find_given, read_name

HELLO = r"hello+|hi+|hey+|hiya|namaste|greetings|good\s(?:morning|afternoon|evening|day)"
_GREETING_WORDS = ("dear", "hello", "hi", "hey", "namaste", "greetings", "good m", "good a", "good e", "good d")
_GREETING = re.compile(
    rf"(?<![{L}'’])(?:(?P<dear>(?i:dear(?:est)?))|(?P<hello>(?i:{HELLO})))(?![{L}'’])"
    rf"(?P<apart>{GAP}?[,.!:]{{0,3}})\s{{0,3}}{TITLE}"
)
_OPENERS = "i|my|me|we|thanks?|welcome|your|the|this|it|as|how|for|please|have|hope|you|from|here|in|im|is|can|what|and"
_OPENER = re.compile(rf"{GAP}+(?i:{_OPENERS})(?![{L}])")
_AFTER = re.compile(r"[\s,.!:;–—-]{0,8}")
_ENDS = re.compile(r"\s{0,3}(?:[,.;:!?()&/\n\x00–—-]|\Z)")
_STOPS = re.compile(r"[\s.!,)~*;:–—-]{0,6}\Z")

STRONG = (
    rf"regards|regds|rgds|sincerely|faithfully|yours{GAP}+truly|best{GAP}+wishes|warm{GAP}+wishes"
    "|respectfully|cordially"
)
WEAK = rf"thanks|thank{GAP}+(?:you|u)|thanku|thanx|thnx|thanking{GAP}+you|thx|cheers|take{GAP}+care|love|signed"
_SIGNED_WORDS = (
    *("regards", "regds", "rgds", "sincerely", "faithfully", "yours", "respectfully", "cordially", "best wishes"),
    *(
        "warm wishes",
        "thanks",
        "thanku",
        "thanx",
        "thnx",
        "thank you",
        "thank u",
        "thanking",
        "thx",
        "cheers",
        "take care",
        "love",
        "signed",
        "best,",
    ),
)
_BEST = r"(?:(?<=[.!?]\s)|(?<=\n))[Bb]est(?=,)"  # where a sentence begins with it
_SIGNED = re.compile(
    rf"(?<![{L}'’])(?:(?P<strong>(?i:{STRONG}))|(?i:{WEAK})|{_BEST})(?:(?![{L}'’])|(?=[A-Z]))(?P<apart>[\s,.:;!&~*–—-]{{0,8}}){TITLE}"
)
_TAIL = re.compile(rf"(?P<apart>[.!?,;\n–—-])\s{{0,3}}{TITLE}(?=[^\n]{{1,50}}\Z)")
_THANKS = re.compile(r"(?i:thank|thx)[^.!?,;\n–—-]*[.!?,;\n–—-][\s.!?,;–—-]*\Z")
_FRONT = re.compile(
    rf"(?i:(?<![{L}])(?:(?:thanks|thank\syou|thanking\syou)\s?(?:and|&|,|with)?\s?)?"
    rf"(?:(?:with|and|&|my|many|very|kind(?:est)?|kindly|warm(?:est)?|best|yours|most)\s){{0,3}}|[–—-]\s?)\Z"
)
_CREDENTIALS = re.compile(
    r"(?:[\s,.;:()&/–—-]{1,4}(?:(?:[A-Z]\.){1,4}[A-Z]?|[A-Z][A-Za-z]?\.?[A-Z]{1,5}[a-z]?|(?i:md|mbbs|ms|dnb|dm|phd)|[A-Za-z]{2,}(?:ologist|iatrist|ology|"
    r"iatrician|iatrics|iatry|opath|opathy|opedics)|(?i:consultant|senior|general|physician|surgeons?|surgery|specialist|medicine|"
    r"practitioner|dept|department|hospital|clinic|dentist|resident|professor|assistant|associate|internal|family))(?![\w]))"
    r"{0,12}(?:[\s,);:!–—-]|\.(?!\w)){0,8}"
)


class NameSpan(NamedTuple):
    """Where a name stands, and the span that leaves an answer with it (`None`: a placeholder stays)."""

    start: int
    end: int
    cut: tuple[int, int] | None = None


def find_greeted(text: str, low: str) -> Iterator[NameSpan]:
    """ "Dear Mrs Smith", "Hi Sarah Jane,", "HI. Amit,": a greeting stays without its name, "Dear …," goes whole."""
    for place in find_cues(low, _GREETING_WORDS):
        cue = _GREETING.match(text, place)
        if not cue:
            continue
        at, apart = cue.end(), cue["apart"].strip()
        end = _read_greeted(text, at, cue["dear"] is not None, bool(cue["title"]), bool(apart))
        if end > at:
            yield NameSpan(at, end, _cut_greeting(text, cue, end))


def _read_greeted(text: str, at: int, dear: bool, title: bool, apart: bool) -> int:
    upper = text[at].isupper()
    end = read_name(text, at, title or not apart, title)
    if end == at:
        return at
    known, ends = find_given(text, at, end), bool(_ENDS.match(text, end))
    opens = ends or bool(_OPENER.match(text, end))
    if title:
        fits = upper or known or opens
    elif apart:
        fits = known and upper and ends
    elif dear:
        fits = upper or known or ends
    else:
        fits = (known and (upper or opens)) or (ends and len(text[at:end]) > 2) or (upper and opens)
    return end if fits else at


def _cut_greeting(text: str, cue: re.Match[str], end: int) -> tuple[int, int]:
    if cue["dear"] is None:
        return cue.end("hello"), end
    before = text[: cue.start()].rstrip()
    if before and (before[-1].isalpha() or before[-1] == ","):
        return len(before.rstrip(",")), end  # "Hello dear Sarah, welcome"
    return cue.start(), _AFTER.match(text, end).end()  # type: ignore[union-attr]


def find_signed(text: str, low: str) -> Iterator[NameSpan]:
    """ "Regards, Dr John Smith", "Thanks, Sarah", and a name that stands alone at the very end."""
    for place in find_cues(low, _SIGNED_WORDS):
        cue = _SIGNED.match(text, place)
        if not cue:
            continue
        end = _read_signed(text, cue)
        if end > cue.end():
            yield NameSpan(cue.end(), end, _cut_signature(text, cue.start(), end))
    bottom = len(text.rstrip(" \t\n\r.!*~\xa0"))
    for cue in _TAIL.finditer(text, max(bottom - 60, 0), bottom):
        end = _read_last(text, cue, bottom)
        if end > cue.end():
            yield NameSpan(cue.end(), end, _cut_signature(text, cue.end("apart"), end))
            break


def _read_signed(text: str, cue: re.Match[str]) -> int:
    at, apart = cue.end(), cue["apart"]
    known_title = bool(cue["title"])
    end = read_name(text, at, True, known_title)
    if end == at and cue["strong"] and re.match(r"(?![AIU]\W*\Z)(?:[A-Z]\.?){1,4}\W{0,4}\Z", text[at : at + 12]):
        end = at + len(text[at:].rstrip(" .!\n"))  # "Regards, SK"
    if end == at or known_title:
        return end
    last, known = bool(_STOPS.match(text, end)), find_given(text, at, end)
    if cue["strong"]:
        fits = (
            last
            or known
            or (bool(_ENDS.match(text, end)) and not re.search(r"[.!?]", apart))
            or (text[at].isupper() and _skip_degree(text, end))
        )
    else:
        upper = text[at].isupper()
        fits = (known and upper) or (last and (upper or end - at > 2)) or (upper and _skip_degree(text, end))
    return end if fits else at


def _skip_degree(text: str, end: int) -> bool:
    """Whether letters such as "MD" follow a name."""
    found = _CREDENTIALS.match(text, end)
    return found is not None and len(found[0]) > 2 and any(sign.isalpha() for sign in found[0])


def _read_last(text: str, cue: re.Match[str], bottom: int) -> int:
    at = cue.end()
    end = read_name(text, at, True, bool(cue["title"]))
    degrees = _CREDENTIALS.match(text, end).end() if cue["title"] else end  # type: ignore[union-attr]
    if end == at or not _STOPS.match(text, degrees):
        return at
    if cue["title"] and text[at].isupper():
        return end
    thanked = bool(_THANKS.search(text, max(cue.start() - 150, 0), cue.end("apart")))
    alone = cue["apart"] == "\n" or (
        cue["apart"] in "–—-" and not text[max(cue.start() - 1, 0) : cue.start()].isalnum()
    )
    known = find_given(text, at, end)
    upper = text[at].isupper()
    return end if (known and (alone or thanked) and (upper or thanked)) or (thanked and upper) else at


def _cut_signature(text: str, start: int, end: int) -> tuple[int, int]:
    """From "Thanks and kind" before the cue to the last degree behind the name."""
    front = _FRONT.search(text, max(start - 60, 0), start)
    start = front.start() if front else start
    return start, _CREDENTIALS.match(text, end).end()  # type: ignore[union-attr]
