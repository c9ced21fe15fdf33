"""The types of settings in plain words."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

_WORDS = {int: ["a whole number"], float: ["a number"], bool: ["true", "false"], str: ["text"], type(None): ["null"]}


def describe_type(*typehints: Any) -> str:
    """Returns what a setting of one of the types takes, for instance `a whole number, auto or null`."""
    words: list[str] = []
    kinds = list(list_alternatives(*typehints))
    for kind in kinds:
        if kind is int and float in kinds:
            continue  # a number
        words += [word for word in _describe_one(kind) if word not in words]
    words.sort(key="null".__eq__)  # last
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words) or "another value"


def list_alternatives(*typehints: Any) -> Iterator[Any]:
    """Yields the types of which a value needs to be one, without unions."""
    for typehint in typehints:
        if get_origin(typehint) in (Union, types.UnionType):
            yield from list_alternatives(*get_args(typehint))
        else:
            yield typehint


def list_choices(typehint: Any) -> list[str]:
    """Returns the values of which a setting takes one; empty where it takes any of a type."""
    literals = [kind for kind in list_alternatives(typehint) if get_origin(kind) is Literal]
    return list(dict.fromkeys(str(value) for kind in literals for value in get_args(kind)))


def list_classes(*typehints: Any) -> list[type]:
    """Returns the classes of which a setting takes objects, alone or in a list."""
    found: list[type] = []
    for kind in list_alternatives(*typehints):
        if _is_list(kind):
            found += list_classes(*get_args(kind))
        elif isinstance(kind, type) and get_origin(kind) is None and _is_settable(kind):
            found.append(kind)
    return list(dict.fromkeys(found))


def _describe_one(kind: Any) -> list[str]:
    if kind in _WORDS:
        return _WORDS[kind]
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    if _is_list(kind):
        parts = get_args(kind)
        return [f"a list, each {describe_type(*parts)}" if parts else "a list"]
    origin = get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return ["a mapping as in '{key: value}'"]
    if isinstance(origin, type) and _is_settable(origin):
        return [f"a class of the kind {origin.__name__}"]
    return []  # what is given as text or in another of these ways


def _is_list(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Iterable) and not issubclass(origin, Mapping)


def _is_settable(kind: type) -> bool:
    """Returns whether objects of a type are named by their class, unlike plain values, containers and tensors."""
    return kind.__module__.partition(".")[0] in ("torch", "lightning", "lightning_med") and kind.__name__ != "Tensor"
