"""Private data in consultations: found, and replaced by placeholders before a model learns from them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from lightning_med.privacy.common_words import read_ordinary_words
from lightning_med.privacy.cue_search import lower_keeping_length
from lightning_med.privacy.emails_and_links import find_emails, find_urls
from lightning_med.privacy.greetings import find_greeted, find_signed
from lightning_med.privacy.person_names import find_introduced, find_of_kin, find_said_to_be, find_titled
from lightning_med.privacy.phone_and_id_numbers import find_numbers
from lightning_med.privacy.postal_addresses import find_addresses
from lightning_med.privacy.prefilter import SUSPECT as SUSPECT

KINDS = ("EMAIL", "URL", "PHONE", "CARD", "NATIONAL_ID", "ADDRESS", "NAME")
_PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(KINDS)})\]")
# Space to Python, not to RE2: a pattern that leaned on it would find what `SUSPECT` misses. NUL is a blank here.
_RARE = re.compile("[\x00\x0b\x1c-\x1f\x85\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_CLAUSE = re.compile(r"(?i:(?:i\sam|i['’]?m|this\sis|my\sname\sis)\s+(?:(?:mr|mrs|ms|miss|dr|prof|doctor)\.?\s*)?)\Z")
_AND_I = re.compile(r"\s+and\s+(?=I\b|i\b)")


@dataclass(frozen=True, slots=True)
class Found:
    """One piece of private data: its place in the text, and its kind."""

    start: int
    end: int
    kind: str


def find_private(text: str) -> list[Found]:
    """Private data in order, never overlapping. Placeholders that stand in the text already are no private data."""
    return [found for found, _ in _find_all(text)]


def mask(text: str, answer: bool = False) -> tuple[str, Counter[str]]:
    """The text with placeholders ("[PHONE]") for private data, and how many of each kind.

    What is replaced can bring a cue nearer to other digits, so it is done until nothing is left: masking what is masked
    changes nothing.

    Args:
        text: A question or an answer.
        answer: Names of greetings and signatures leave with their phrase, so that no model learns to sign or to call a
            patient by name.
    """
    counts: Counter[str] = Counter()
    while found := _find_all(text):
        counts.update(one.kind for one, _ in found)
        text = _replace(text, found, answer)
    return text, counts


def _find_all(text: str) -> list[tuple[Found, tuple[int, int] | None]]:
    """What is found, surest kinds first: each is blanked so that no later pattern reads across it."""
    kept: list[tuple[Found, tuple[int, int] | None]] = []
    blank = _RARE.sub("\x01", text)
    blank = _PLACEHOLDER.sub(lambda held: "\x00" * len(held[0]), blank) if "[" in blank else blank
    for search in (_find_links, _find_numbers, _find_addresses, _find_names):
        taken: list[tuple[Found, tuple[int, int] | None]] = []
        for start, end, kind, cut in sorted(search(blank), key=lambda one: (one[0], -one[1])):
            if start < end and "\x00" not in blank[start:end] and (not taken or start >= taken[-1][0].end):
                taken.append((Found(start, end, kind), cut))
        if taken:
            blank = _blank_out(blank, [one for one, _ in taken])
        kept += taken
    return sorted(kept, key=lambda one: one[0].start)


def _blank_out(text: str, taken: list[Found]) -> str:
    pieces, at = [], 0
    for one in taken:
        pieces += [text[at : one.start], "\x00" * (one.end - one.start)]
        at = one.end
    return "".join((*pieces, text[at:]))


_Hit = tuple[int, int, str, tuple[int, int] | None]


def _find_links(text: str) -> Iterator[_Hit]:
    low = lower_keeping_length(text)
    for start, end in find_emails(text, low):
        yield start, end, "EMAIL", None
    for start, end in find_urls(text, low, read_ordinary_words()):
        yield start, end, "URL", None


def _find_numbers(text: str) -> Iterator[_Hit]:
    for start, end, kind in find_numbers(text):
        yield start, end, kind, None


def _find_addresses(text: str) -> Iterator[_Hit]:
    for start, end in find_addresses(text, lower_keeping_length(text), read_ordinary_words()):
        yield start, end, "ADDRESS", None


def _find_names(text: str) -> Iterator[_Hit]:
    low = lower_keeping_length(text)
    for name in (*find_greeted(text, low), *find_signed(text, low)):
        yield name.start, name.end, "NAME", name.cut
    for search in (find_introduced, find_said_to_be, find_of_kin, find_titled):
        for start, end in search(text, low):
            yield start, end, "NAME", None


def _replace(text: str, found: list[tuple[Found, tuple[int, int] | None]], answer: bool) -> str:
    edits: list[tuple[int, int, str]] = []  # start, end, placeholder; an empty one where the phrase leaves
    at = 0
    for one, cut in found:
        if one.end <= at:
            continue  # it leaves with the phrase before it
        leaves = (cut or _find_clause(text, one)) if answer and one.kind == "NAME" else None
        start, end = leaves or (one.start, one.end)
        edits.append((max(start, at), max(end, one.end), "" if leaves else f"[{one.kind}]"))
        at = edits[-1][1]
    for start, end, placeholder in reversed(edits):
        before, after = text[:start], text[end:]
        text = before + placeholder + after if placeholder else _join_lists(before, after, text[start].isupper())
    return text


def _join_lists(before: str, after: str, upper: bool) -> str:
    """One space where a phrase has left, none before punctuation, a capital where a sentence now begins."""
    kept = before.rstrip()
    if not after.strip():
        return kept
    if not kept or kept[-1] in ".!?" or "\n" in before[len(kept) :]:
        after = after.lstrip(" \t\n\xa0,;:")
        return before + (" " if before and before == kept else "") + (after[:1].upper() + after[1:] if upper else after)
    return kept + (" " if after[0].isalnum() else "") + after


def _find_clause(text: str, one: Found) -> tuple[int, int] | None:
    """ "I am Dr. Smith and I have …" says as much without its first half."""
    front, then = _CLAUSE.search(text, max(one.start - 40, 0), one.start), _AND_I.match(text, one.end)
    return (front.start(), then.end()) if front and then else None
