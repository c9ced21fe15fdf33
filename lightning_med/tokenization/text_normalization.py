"""Text normalization, the same for training and generation."""

from __future__ import annotations

import re

_SURROGATES = re.compile("[\ud800-\udfff]")


def replace_half_surrogates(text: str) -> str:
    """Replaces lone surrogates, which UTF-8 cannot encode, with the replacement character."""
    return _SURROGATES.sub("\ufffd", text)


def normalize_whitespace(text: str) -> str:
    """Normalizes whitespace to one space between words and one line break between lines, with none at the ends.

    No empty line is left in a text, so the empty line between two turns of a consultation is unambiguous.
    """
    lines = (" ".join(line.split()) for line in replace_half_surrogates(text).splitlines())
    return "\n".join(line for line in lines if line)
