"""Differences between two versions of a text."""

from __future__ import annotations

import difflib
import re
import unicodedata

Span = tuple[str, str]  # "del", "ins" or nothing, and the text

_SPACES = {" ": "·", "\n": "⏎\n", "\t": "⇥"}
_MAX_COMPARED = 2_000  # characters of both versions; the comparison takes quadratic time


def mark_changes(before: str, after: str) -> tuple[list[Span], list[Span]]:
    """Splits two versions of a text into equal and changed spans; in the latter, white space is made visible.

    Returns:
        The spans of `before`, changed ones marked `del`, and those of `after`, changed ones marked `ins`.
    """
    if len(before) + len(after) > _MAX_COMPARED:
        return [("", before)], [("", after)]
    old, new = (re.findall(r"\w+|\s|[^\w\s]", text) for text in (before, after))
    left: list[Span] = []
    right: list[Span] = []
    for kind, i, i_end, j, j_end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        removed, added = "".join(old[i:i_end]), "".join(new[j:j_end])
        if kind == "equal":
            left.append(("", removed))
            right.append(("", added))
            continue
        if removed:
            left.append(("del", _show_invisible(removed)))
        if added:
            right.append(("ins", _show_invisible(added)))
    return left, right


def _show_invisible(text: str) -> str:
    if not text.strip():
        text = "".join(_SPACES.get(char, char) for char in text)
    return "".join(f"‹U+{ord(char):04X}›" if _is_invisible(char) else char for char in text)


def _is_invisible(char: str) -> bool:
    return char != " " and unicodedata.category(char) in ("Cf", "Zs", "Zl", "Zp")
