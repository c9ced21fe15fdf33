"""HTML tags and entities in texts."""

from __future__ import annotations

import re
from html import unescape
from html.entities import html5

from lightning_med.data.cleaning.rule import repair_until_stable

_VALUE = r"""(?:"[^"<>]{0,300}"|'[^'<>]{0,300}'|[^\s<>]{1,300})"""
_ATTRIBUTE = rf"\s{{1,9}}[a-z][a-z:-]{{0,30}}\s{{0,3}}=\s{{0,3}}{_VALUE}"
_TAG = rf"<\s{{0,3}}/?\s{{0,3}}(?:%s)(?:{_ATTRIBUTE}){{0,20}}\s{{0,3}}/?\s{{0,3}}>"  # not "a <b and c> d"
_BLOCKS = re.compile(_TAG % "p|br|div|tr|li|ul|ol|table|h[1-6]|hr|blockquote|pre", re.I | re.A)
_CELLS = re.compile(_TAG % "td|th|tbody|img", re.I | re.A)
_INLINE = re.compile(_TAG % "b|i|u|em|strong|span|font|a|small|code|center", re.I | re.A)
_SUPERSCRIPT = re.compile(rf"{_TAG % 'sup'}([^<>]{{1,40}})<\s*/\s*sup\s*>", re.I | re.A)
_SUBSCRIPT = re.compile(rf"{_TAG % 'sub'}([^<>]{{1,40}})<\s*/\s*sub\s*>", re.I | re.A)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|([A-Za-z][A-Za-z0-9]{1,31}));")


@repair_until_stable
def repair_html(text: str) -> str:
    """Removes tags and decodes entities. `10<sup>9</sup>` becomes `10^9`; a space separates the cells of a table."""
    text = _ENTITY.sub(_decode_entity, text)
    if "<" not in text:
        return text
    text = _SUPERSCRIPT.sub(lambda match: _format_superscript(match[1].strip()), text)
    text = _SUBSCRIPT.sub(lambda match: f"{'_' * text[: match.start()][-1:].isdigit()}{match[1].strip()}", text)
    return _INLINE.sub("", _CELLS.sub(" ", _BLOCKS.sub("\n", text)))


def _decode_entity(match: re.Match[str]) -> str:
    unknown = match[1] and f"{match[1]};" not in html5
    return match[0] if unknown else unescape(match[0])


def _format_superscript(text: str) -> str:
    return text if text.lower() in ("", "st", "nd", "rd", "th") else f"^{text}"
