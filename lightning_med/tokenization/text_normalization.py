"""What every text passes through, at training and at answering alike."""

from __future__ import annotations

import re

_HALVES = re.compile("[\ud800-\udfff]")


def replace_half_surrogates(text: str) -> str:
    """Half of a surrogate pair, which UTF-8 cannot hold, becomes the replacement character."""
    return _HALVES.sub("\ufffd", text)


def normalize_whitespace(text: str) -> str:
    """One space between words, one line break between lines, none at the ends.

    It leaves no empty line inside a text, so the empty line between two turns of a consultation is unambiguous.
    """
    lines = (" ".join(line.split()) for line in replace_half_surrogates(text).splitlines())
    return "\n".join(line for line in lines if line)
