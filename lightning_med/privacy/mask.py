"""`mask`: private data of all kinds, found and replaced by placeholders before a model learns from a text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from lightning_med.privacy.cue_search import lower_keeping_length
from lightning_med.privacy.emails_and_links import find_emails, find_urls
from lightning_med.privacy.greetings import find_greeted
from lightning_med.privacy.person_names import find_after_i_am, find_introduced, find_relatives, find_titled
from lightning_med.privacy.phone_and_id_numbers import find_numbers
from lightning_med.privacy.postal_addresses import find_addresses
from lightning_med.privacy.prefilter import SUSPECT as SUSPECT
from lightning_med.privacy.signatures import find_signed
from lightning_med.privacy.word_lists import read_ordinary_words

KINDS = ("EMAIL", "URL", "PHONE", "CARD", "NATIONAL_ID", "ADDRESS", "NAME")
_PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(KINDS)})\]")
_BLANKED = "\x00"  # replaces what was found, so that no later pattern matches across it
# White space to Python but not to RE2, and NUL: with them a pattern would find what `SUSPECT` misses.
_RARE = re.compile("[\x00\x0b\x1c-\x1f\x85\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_I_AM = re.compile(r"(?i:(?:i\sam|i['’]?m|this\sis|my\sname\sis)\s+(?:(?:mr|mrs|ms|miss|dr|prof|doctor)\.?\s*)?)\Z")
_AND_I = re.compile(r"\s+and\s+(?=I\b|i\b)")


@dataclass(frozen=True, slots=True)
class PrivateSpan:
    """One piece of private data.

    Attributes:
        start, end: In the text.
        kind: One of `KINDS`.
        removed: What is removed with it from an answer (`None`: a placeholder replaces it there, too).
    """

    start: int
    end: int
    kind: str
    removed: tuple[int, int] | None = None


def find_private(text: str) -> list[PrivateSpan]:
    """Finds private data, in order and without overlaps; a placeholder is not private data."""
    spans: list[PrivateSpan] = []
    blank = _RARE.sub("\x01", text)
    blank = _PLACEHOLDER.sub(lambda match: _BLANKED * len(match[0]), blank) if "[" in blank else blank
    for search in (_find_links, _find_numbers, _find_addresses, _find_names):  # the most certain kinds first
        found: list[PrivateSpan] = []
        for span in sorted(search(blank), key=lambda span: (span.start, -span.end)):
            free = span.start < span.end and _BLANKED not in blank[span.start : span.end]
            if free and (not found or span.start >= found[-1].end):
                found.append(span)
        if found:
            blank = _blank_out(blank, found)
        spans += found
    return sorted(spans, key=lambda span: span.start)


def mask(text: str, answer: bool = False) -> tuple[str, Counter[str]]:
    """Replaces private data by placeholders ("[PHONE]").

    A replacement can bring a cue nearer to other digits, so it is repeated until nothing is found. Masking a masked
    text changes nothing.

    Args:
        text: A question or an answer.
        answer: Greetings and signatures are removed with their names, so that no model learns to sign or to address a
            patient by name.

    Returns:
        The masked text, and the number of replacements by kind.
    """
    counts: Counter[str] = Counter()
    while spans := find_private(text):
        counts.update(span.kind for span in spans)
        text = _replace(text, spans, answer)
    return text, counts


def _blank_out(text: str, spans: list[PrivateSpan]) -> str:
    pieces, end = [], 0
    for span in spans:
        pieces += [text[end : span.start], _BLANKED * (span.end - span.start)]
        end = span.end
    return "".join((*pieces, text[end:]))


def _find_links(text: str) -> Iterator[PrivateSpan]:
    low = lower_keeping_length(text)
    for start, end in find_emails(text, low):
        yield PrivateSpan(start, end, "EMAIL")
    for start, end in find_urls(text, low, read_ordinary_words()):
        yield PrivateSpan(start, end, "URL")


def _find_numbers(text: str) -> Iterator[PrivateSpan]:
    for start, end, kind in find_numbers(text):
        yield PrivateSpan(start, end, kind)


def _find_addresses(text: str) -> Iterator[PrivateSpan]:
    for start, end in find_addresses(text, lower_keeping_length(text), read_ordinary_words()):
        yield PrivateSpan(start, end, "ADDRESS")


def _find_names(text: str) -> Iterator[PrivateSpan]:
    low = lower_keeping_length(text)
    for name in (*find_greeted(text, low), *find_signed(text, low)):
        yield PrivateSpan(name.start, name.end, "NAME", name.removed)
    for search in (find_introduced, find_after_i_am, find_relatives, find_titled):
        for start, end in search(text, low):
            yield PrivateSpan(start, end, "NAME")


def _replace(text: str, spans: list[PrivateSpan], answer: bool) -> str:
    edits: list[tuple[int, int, str]] = []  # start, end, placeholder; an empty placeholder removes the phrase
    last = 0
    for span in spans:
        if span.end <= last:
            continue  # removed with the phrase before it
        removed = (span.removed or _find_introduction(text, span)) if answer and span.kind == "NAME" else None
        start, end = removed or (span.start, span.end)
        edits.append((max(start, last), max(end, span.end), "" if removed else f"[{span.kind}]"))
        last = edits[-1][1]
    for start, end, placeholder in reversed(edits):
        before, after = text[:start], text[end:]
        text = before + placeholder + after if placeholder else _join(before, after, text[start].isupper())
    return text


def _join(before: str, after: str, upper: bool) -> str:
    """Joins the text around a removed phrase: one blank, none before punctuation, a capital at a sentence's start."""
    kept = before.rstrip()
    if not after.strip():
        return kept
    if not kept or kept[-1] in ".!?" or "\n" in before[len(kept) :]:
        after = after.lstrip(" \t\n\xa0,;:")
        return before + (" " if before and before == kept else "") + (after[:1].upper() + after[1:] if upper else after)
    return kept + (" " if after[0].isalnum() else "") + after


def _find_introduction(text: str, span: PrivateSpan) -> tuple[int, int] | None:
    """The first half of "I am Dr. Smith and I have …", without which the sentence is complete."""
    front, rest = _I_AM.search(text, max(span.start - 40, 0), span.start), _AND_I.match(text, span.end)
    return (front.start(), rest.end()) if front and rest else None
