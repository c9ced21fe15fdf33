"""Pieces of HTML for the data page: texts that are not trusted, figures, tables."""

from __future__ import annotations

import difflib
import html
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

Report = dict[str, Any]  # the content of report.json; any part of it may be empty

NONE = "–"
SPLIT_NAMES = {"train": "Training", "validation": "Validation", "test": "Test"}
_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_SPACES = {" ": "·", "\n": "⏎\n", "\t": "⇥"}
_COMPARED = 2_000  # characters of an example in which differences are sought


def text(value: object) -> str:
    """Untrusted text as HTML: escaped, control characters as their pictures, half characters as question marks."""
    return html.escape(str(value).encode("utf-8", "replace").decode().translate(_CONTROLS))


def number(value: Any) -> str:
    """A count or a measure with thousands separated; a dash for what there is none of."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text(value)
    return f"{int(value):,}" if value == int(value) else f"{value:,.4g}"


def percent(part: float | None, whole: float = 1) -> str:
    """A share that says neither nothing of something nor all of nearly all."""
    if part is None or not whole or not math.isfinite(part):
        return NONE
    share = part / whole
    if 0 < share < 0.0005:
        return "&lt;0.1%"
    return "&gt;99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def row_count(count: Any) -> str:
    """`1 row`, `2 rows`."""
    return f"{number(count)} row{'s' * (count != 1)}"


def plain(name: object) -> str:
    """A name from the code as words."""
    return str(name).replace("_", " ").capitalize()


def empty(words: str) -> str:
    """What stands where there is nothing to show."""
    return f'<p class="empty">{words}</p>'


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], classes: str = "") -> str:
    """A table of finished HTML, the first cell of a row its heading; it scrolls in its own box where it must."""
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'<div class="scroll"><table{classes and f" class={classes!r}"}><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def facts(figures: Iterable[tuple[str, str, str]], style: str = "facts") -> str:
    """Figures, each with its name and some words, all of them HTML."""
    made = (
        f'<div><dt>{title}</dt><dd class="big">{figure}</dd><dd class="small">{words}</dd></div>'
        for title, figure, words in figures
    )
    return f'<dl class="{style}">{"".join(made)}</dl>'


def key(split: str) -> str:
    """The colour of a split, to stand before its name."""
    kind = split if split in SPLIT_NAMES else "plain"
    return f'<svg class="key" viewBox="0 0 1 1" aria-hidden="true"><rect class="{kind}" width="1" height="1"/></svg>'


def named(split: str) -> str:
    """A split's colour and name, on one line."""
    return f'<span class="named">{key(split)} {text(SPLIT_NAMES.get(split, split))}</span>'


def changed(before: str, after: str) -> tuple[str, str]:
    """Two spellings of a text as HTML, what differs marked, spaces that differ made visible."""
    if len(before) + len(after) > _COMPARED:
        return text(before), text(after)
    old, new = (re.findall(r"\w+|\s|[^\w\s]", words) for words in (before, after))
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    left: list[str] = []
    right: list[str] = []
    for kind, start, end, first, last in matcher.get_opcodes():
        same = kind == "equal"
        left.append(_marked("".join(old[start:end]), "" if same else "del"))
        right.append(_marked("".join(new[first:last]), "" if same else "ins"))
    return "".join(left), "".join(right)


def _marked(words: str, mark: str) -> str:
    if not words or not mark:
        return text(words)
    if not words.strip():
        words = "".join(_SPACES.get(sign, sign) for sign in words)
    return f"<{mark}>{text(''.join(map(_visible, words)))}</{mark}>"


def _visible(sign: str) -> str:
    """A sign without a shape, such as a zero-width space, by its number."""
    unseen = sign not in " \n\t" and unicodedata.category(sign) in ("Cf", "Zs", "Zl", "Zp")
    return f"‹U+{ord(sign):04X}›" if unseen else sign
