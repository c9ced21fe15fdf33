"""Names of people in greetings: "Dear Mrs Smith", "Hi Sarah Jane,"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lightning_med.privacy.cue_search import LETTERS, find_cues
from lightning_med.privacy.name_parser import GAP, TITLE, NameSpan, begins_with_given_name, find_name_end

HELLO = r"hello+|hi+|hey+|hiya|namaste|greetings|good\s(?:morning|afternoon|evening|day)"
_GREETING_WORDS = ("dear", "hello", "hi", "hey", "namaste", "greetings", "good m", "good a", "good e", "good d")
_GREETING = re.compile(
    rf"(?<![{LETTERS}'’])(?:(?P<dear>(?i:dear(?:est)?))|(?P<hello>(?i:{HELLO})))(?![{LETTERS}'’])"
    rf"(?P<apart>{GAP}?[,.!:]{{0,3}})\s{{0,3}}{TITLE}"
)
_OPENERS = "i|my|me|we|thanks?|welcome|your|the|this|it|as|how|for|please|have|hope|you|from|here|in|im|is|can|what|and"
_OPENER = re.compile(rf"{GAP}+(?i:{_OPENERS})(?![{LETTERS}])")
_PUNCTUATION = re.compile(r"[\s,.!:;–—-]{0,8}")
_END = re.compile(r"\s{0,3}(?:[,.;:!?()&/\n\x00–—-]|\Z)")


def find_greeted(text: str, low: str) -> Iterator[NameSpan]:
    """Yields the names after greetings; from an answer "Hello Mrs Smith" loses the name, and "Dear Mrs Smith," all.

    Args:
        text: Any text.
        low: The same by `lower_keeping_length`.
    """
    for place in find_cues(low, _GREETING_WORDS):
        cue = _GREETING.match(text, place)
        if cue and (end := _find_end(text, cue)) > cue.end():
            yield NameSpan(cue.end(), end, _find_removed(text, cue, end))


def _find_end(text: str, cue: re.Match[str]) -> int:
    """The end of the name after a greeting; the end of the greeting if no name follows."""
    start, titled, apart = cue.end(), bool(cue["title"]), bool(cue["apart"].strip())
    upper = text[start].isupper()
    end = find_name_end(text, start, titled or not apart, titled)
    if end == start:
        return start
    known, ends = begins_with_given_name(text, start, end), bool(_END.match(text, end))
    opens = ends or bool(_OPENER.match(text, end))  # a sentence begins after the name
    if titled:
        fits = upper or known or opens
    elif apart:
        fits = known and upper and ends
    elif cue["dear"] is not None:
        fits = upper or known or ends
    else:
        fits = (known and (upper or opens)) or (ends and len(text[start:end]) > 2) or (upper and opens)
    return end if fits else start


def _find_removed(text: str, cue: re.Match[str], end: int) -> tuple[int, int]:
    if cue["dear"] is None:
        return cue.end("hello"), end
    before = text[: cue.start()].rstrip()
    if before and (before[-1].isalpha() or before[-1] == ","):
        return len(before.rstrip(",")), end  # "Hello dear Sarah, welcome"
    return cue.start(), _PUNCTUATION.match(text, end).end()  # type: ignore[union-attr]
