"""The backend of a tokenizer as JSON text: its settings are read and changed without parsing its vocabulary."""

from __future__ import annotations

import json
import re
from typing import Any

_BETWEEN = re.compile(r"[\s,:]*")


def split_backend(text: str) -> tuple[dict[str, Any], str]:
    """Splits a backend into its settings and its model.

    Args:
        text: Of `Tokenizer.to_str`, in which the model comes last.

    Returns:
        All settings but the model, parsed; the model as JSON text.
    """
    decoder = json.JSONDecoder()
    settings: dict[str, Any] = {}
    place = text.index("{") + 1
    while True:
        key, place = decoder.raw_decode(text, _skip(text, place))
        place = _skip(text, place)
        if key == "model":
            return settings, text[place:].rstrip().removesuffix("}")
        settings[key], place = decoder.raw_decode(text, place)


def join_backend(settings: dict[str, Any], model: str) -> str:
    """Joins what `split_backend` has split."""
    return f'{json.dumps(settings, ensure_ascii=False)[:-1]}, "model": {model}}}'


def replace_setting(settings: Any, name: str, value: Any, where: Any = None) -> bool:
    """Sets every entry of one name, at any depth and in place.

    Args:
        settings: Mappings and lists, as JSON holds them.
        name: Of the entries.
        value: Their new value.
        where: The value of entries to be set; `None` for those of any other value.

    Returns:
        Whether there was one to set.
    """
    found = False
    if isinstance(settings, dict):
        if name in settings and (settings[name] != value if where is None else settings[name] == where):
            settings[name], found = value, True
        settings = list(settings.values())
    if isinstance(settings, list):
        for part in settings:
            found = replace_setting(part, name, value, where) or found
    return found


def _skip(text: str, place: int) -> int:
    match = _BETWEEN.match(text, place)
    return match.end() if match else place
