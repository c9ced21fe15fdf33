"""Markers of turns that are ordinary text: no question and no answer may contain one.

A control token such as `<|im_start|>` cannot be written by a person, for text from outside is encoded without control
tokens. Markers such as `[INST]`, `<|user|>` or `### Instruction:` can, where the tokenizer has no such token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_BRACKETED = re.compile(r"<+[^<>\s]+>+|\[+[^\[\]\s]+\]+")


def find_markers(texts: Iterable[str], headings: Iterable[str], control: re.Pattern[str]) -> tuple[str, ...]:
    """Finds the markers in the text around questions and answers.

    They are what stands in brackets and, of the rest, each line, for instance `### Response:`. A bare word counts for
    none: behind a control token or a bracket, as in `<|im_start|>user`, it marks nothing by itself.

    Args:
        texts: Before a question and before an answer.
        headings: Around the system prompt. A line there is a marker only if it ends with a colon: it may be advice.
        control: Matches the control tokens.

    Returns:
        The longest first.
    """
    found: set[str] = set()
    for text in texts:
        brackets, lines = _split_lines(control.sub("\n", text))
        found |= brackets | lines
    for text in headings:
        brackets, lines = _split_lines(control.sub("\n", text))
        found |= brackets | {line for line in lines if line.endswith(":")}
    return tuple(sorted((marker for marker in found if len(marker) > 1), key=lambda marker: (-len(marker), marker)))


def _split_lines(text: str) -> tuple[set[str], set[str]]:
    """Returns what stands in brackets, and the lines of the rest that are more than a bare word."""
    lines = (line.strip() for line in _BRACKETED.sub("\n", text).split("\n"))
    return set(_BRACKETED.findall(text)), {line for line in lines if line and not line.isalnum()}


def break_markers(text: str, markers: tuple[str, ...]) -> str:
    """Puts a space after the first character of every marker in a text; the chat template does the same."""
    for marker in markers:
        text = text.replace(marker, break_marker(marker))
    return text


def break_marker(marker: str) -> str:
    """Returns what replaces a marker."""
    return f"{marker[0]} {marker[1:]}"


def can_be_broken(markers: tuple[str, ...]) -> bool:
    """Returns whether no broken marker is part of another marker, with any text around it."""
    return not any(
        other[place] == " "
        and other[:place].endswith(marker[0])
        and (other[place + 1 :].startswith(marker[1:]) or marker[1:].startswith(other[place + 1 :]))
        for marker in markers
        for other in markers
        for place in range(1, len(other))
    )


def cut_beginning(text: str, markers: Sequence[str]) -> str:
    """Cuts the end of an unfinished text that may be the beginning of a marker."""
    lengths = [length for marker in markers for length in range(1, len(marker)) if text.endswith(marker[:length])]
    return text[: len(text) - max(lengths, default=0)]
