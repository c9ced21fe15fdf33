"""Checks arguments against their type hints, and fields of a configuration against their defaults.

The command's parser does the first; a call from Python does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lightning_med.utils.errors import InputError

MOST, _MOST_PARTS, _GREATEST = 1 << 24, 1 << 12, 1e12  # of sizes, of counts of modules, of other numbers
_PARTS = ("layer", "head", "expert", "group")  # in names of counts of modules
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


def check_types(owner: type, values: Mapping[str, Any]) -> None:
    """Refuses an argument that is of another type than its hint says, and a number that is not finite.

    Args:
        owner: Whose `__init__` has the hints.
        values: The arguments by name; others are not looked at.

    Raises:
        InputError: One is of another type.
    """
    for name, hint in get_type_hints(owner.__init__).items():  # type: ignore[misc]
        if name in values and not _fits(values[name], hint):
            raise InputError(f"{name} is {values[name]!r}.", f"It must be {_describe(hint)}.")


def check_field(name: str, value: Any, default: Any, is_count: bool = False) -> None:
    """Refuses a value of another kind than the default's, and what no field of a network's configuration can be.

    Args:
        name: Of the field, for the message; parts of it say what it is.
        value: What is given.
        default: What it is otherwise; `None` says nothing.
        is_count: Whether it is a whole number above 0, or null.

    Raises:
        InputError: It is such a value.
    """
    want = ""
    if isinstance(value, (list, tuple, dict)):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            check_field(f"{name}.{key}", entry, default.get(key) if isinstance(default, dict) else None)
        want = "one value" if isinstance(default, (bool, int, float, str)) else ""
    elif value is None:
        want = "a number" if isinstance(default, float) else ""
    elif isinstance(default, (bool, str)):
        if type(value) is not type(default):
            want = _NAMES[type(default)]
    elif is_count or type(default) is int:
        most, least = _MOST_PARTS if any(part in name for part in _PARTS) else MOST, int(is_count)
        if not (type(value) is int and least <= value <= most):
            want = f"a whole number from {least} to {most:,}"
    elif isinstance(default, float) or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        want = _find_bounds(name, value, default)
    if want:
        raise InputError(f"{name} is {value!r}.", f"It must be {want}.")


def _find_bounds(name: str, value: Any, default: Any) -> str:
    """Returns what a number must be; empty if it is."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _GREATEST
    if "theta" in name:
        return "" if is_number and value > 0 else "a number above 0"
    if "drop" in name:
        return "" if is_number and 0 <= value <= 1 else "a number from 0 to 1"
    if isinstance(default, float) and default >= 0:
        return "" if is_number and value >= 0 else "a number, 0 or more"
    return "" if is_number else "a number"


def _fits(value: Any, hint: Any) -> bool:
    kind, given = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if kind in (Union, UnionType):
        return any(_fits(value, option) for option in given)
    if kind is Literal:
        return any(type(value) is type(option) and value == option for option in given)
    if kind is list:
        return isinstance(value, list) and all(_fits(entry, given[0]) for entry in value)
    if kind is dict:
        return isinstance(value, dict) and all(_fits(k, given[0]) and _fits(v, given[1]) for k, v in value.items())
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is float:
        return isinstance(value, (int, float)) and math.isfinite(value)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    kind, given = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_describe, given)))
    if kind is Literal:
        return " or ".join(map(str, given))
    if kind is list:
        return f"a list of {_describe(given[0])}"
    if kind is dict:
        return "a mapping"
    return _NAMES.get(hint, str(hint))
