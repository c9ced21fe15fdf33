"""Advertising footers of answers: an arrow and a link to an online service."""

from __future__ import annotations

import re

from lightning_med.data.cleaning.rule import repair_until_stable

_LINK = re.compile(
    r"(?:(?<=online)[\s.]+)?\s*(?:-{1,3}>|→)\s*(?:<link>|\[URL\]|https?://\S+|www\.\S+)[\s.]*(?:take care[\s.!]*)?$",
    re.I,
)
_SENTENCE_END = re.compile(r"[.?!…:;](?!\w)|\n")
_AND_CONSULT = re.compile(r"[\s,]+and\s+(?=(?:please |kindly )?(?:consult|revert|get back|visit|click)\b)", re.I)
_INVITATION = re.compile(
    r"\b(?:online|consult|revert|get back|click|visit|follow[ -]?up|(?:read|for|know) (?:more|further)|read this)\b",
    re.I,
)
_MAX_FOOTER = 220  # characters


@repair_until_stable
def remove_advertising(text: str) -> str:
    """Removes a footer that leads to an online consultation: an arrow and a link at the end of the text.

    The sentence before them is removed too if it is an invitation and has no number; any other sentence stays.
    """
    link = _LINK.search(text, max(len(text) - 2 * _MAX_FOOTER, 0))
    if not link:
        return text
    end = len(text[: link.start()].rstrip())
    start = max((match.end() for match in _SENTENCE_END.finditer(text, max(end - _MAX_FOOTER, 0), end)), default=0)
    if match := _AND_CONSULT.search(text, start, end):
        start = match.start()
    footer = text[start:end]
    if len(footer) <= _MAX_FOOTER and _INVITATION.search(footer) and not any(char.isnumeric() for char in footer):
        end = start
    kept = text[:end].rstrip()
    return f"{kept}." if kept[-1:].isalnum() else kept
