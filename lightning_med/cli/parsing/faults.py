"""What is wrong with the settings that a command gives, in two lines: what and where, and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jsonargparse

from lightning_med.cli.parsing.classes import ClassArguments
from lightning_med.cli.parsing.given_settings import MISSING, Given, list_given
from lightning_med.cli.parsing.nearest import find_nearest
from lightning_med.cli.parsing.settings_list import Setting, SettingsList, list_verbs_with
from lightning_med.cli.parsing.type_words import describe_type, list_choices
from lightning_med.utils.errors import InputError

_SHOWN = 80  # characters of a value
_EXAMPLES = {
    "model.lora": "'{r: 16, alpha: 32}'",
    "model.from_scratch": "'{n_layer: 2, n_embd: 128, n_head: 4}'",
    "data.source": "FILE.csv",
}


def check_given(parser: jsonargparse.ArgumentParser, words: Sequence[str]) -> None:
    """Refuses what the parser would read otherwise than it is meant, or take without a word.

    A file that is no config, a key that stands twice, a section that is no mapping, null for what cannot be null.

    Args:
        parser: Of the verb.
        words: Those after the verb.

    Raises:
        InputError: There is such a thing.
    """
    settings = SettingsList(parser)
    seen: set[tuple[Any, str]] = set()
    try:
        listed = list(list_given(words, settings))
    except RecursionError as error:
        raise InputError("A config file names itself, or is nested without end.", "Name other files in it.") from error
    for given in listed:
        _check_section(given, settings)
        setting = settings.values.get(given.key)
        if setting and _is_null(given) and not setting.takes_null and parser.get_default(given.key) is not None:
            raise InputError(f"{given.place} cannot be null.", _describe(setting, parser))
        if given.file is not None and (given.file, given.key) in seen:
            raise InputError(f"{given.place} stands there twice.", "Keep one.")
        seen.add((given.file, given.key))


def find_fault(parser: jsonargparse.ArgumentParser, words: Sequence[str], verb: str) -> InputError | None:
    """Returns what is wrong with settings that the parser has refused; `None` where nothing is found.

    Args:
        parser: Of the verb, or of a class whose arguments are the settings.
        words: Those after the verb.
        verb: For the hints.
    """
    settings = SettingsList(parser)
    arguments: dict[str, ClassArguments] = {}
    try:
        for given in list_given(words, settings):
            owner = settings.values.get(given.key) or settings.find_owner(given.key)
            if given.value is MISSING:
                _check_name(given, settings, verb, parser)
                hint = _describe(owner, parser) if owner else "A file in YAML."
                raise InputError(f"{given.place} needs a value.", hint)
            if owner and owner.classes:
                arguments.setdefault(owner.key, ClassArguments(owner)).add(given)
            else:
                _check_name(given, settings, verb, parser)
                _check_section(given, settings)
                if given.key in settings.values:
                    check_value(given, settings.values[given.key], parser)
        for one in arguments.values():
            one.check(check_value)
    except InputError as error:
        return error
    return None


def check_value(given: Given, setting: Setting, parser: jsonargparse.ArgumentParser) -> None:
    """Refuses a value that a setting does not take.

    Raises:
        InputError: It does not.
    """
    if setting.accepts(given.value, given.is_word):
        return
    shown = str(given.value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    near = find_nearest(shown, list_choices(setting.typehint))
    hint = _describe(setting, parser)
    raise InputError(f"{given.place} cannot be {shown or 'empty'}.", f"Did you mean {near}? {hint}" if near else hint)


def _check_name(given: Given, settings: SettingsList, verb: str, parser: jsonargparse.ArgumentParser) -> None:
    if given.key in settings.values or given.key in settings.sections or given.key in settings.others:
        return
    owner = settings.find_owner(given.key)
    if owner and "dict" in str(owner.typehint):
        return  # a key of a mapping
    known = settings.names if given.file is None else [*settings.values, *settings.sections]
    what = "option" if given.file is None else "setting"
    hint = f"lightning-med {verb} --help lists all."
    if given.file is not None and given.key == verb:
        hint = f"Leave {verb} out: its settings stand at the top, as model, data and trainer."
    elif others := list_verbs_with(parser, given.key):
        hint = f"It is one of {', '.join(others)}."
    elif (near := find_nearest(given.key, known)) is not None:
        hint = f"Did you mean {'' if given.file else '--'}{near}?"
    raise InputError(f"{given.place} is no {what} of {verb}.", hint)


def _check_section(given: Given, settings: SettingsList) -> None:
    if given.key not in settings.sections or given.key in settings.values:
        return
    first = next(key for key in settings.values if key.startswith(f"{given.key}."))
    hint = f"Give its settings, for instance --{first} VALUE"
    if given.file is not None:
        first = first.rpartition(".")[2]
        hint = f"Give its settings below it, for instance {given.key}: {{{first}: …}}; or leave it out."
    shown = "empty" if given.value is None else f"{str(given.value)[:_SHOWN]}, not a mapping"
    raise InputError(f"{given.place} is {shown}.", hint)


def _is_null(given: Given) -> bool:
    return given.value is None or (given.is_word and given.value in ("null", "~", "None"))


def _describe(setting: Setting, parser: jsonargparse.ArgumentParser) -> str:
    """Returns the hint on what a setting takes, with an example or its default."""
    hint = f"It takes {describe_type(setting.typehint)}"
    default = parser.get_default(setting.key)
    if setting.key in _EXAMPLES:
        return f"{hint}; for instance {_EXAMPLES[setting.key]}."
    if isinstance(default, bool):
        return f"{hint}; the default is {str(default).lower()}."
    if isinstance(default, (int, float)) or (isinstance(default, str) and len(default) <= _SHOWN):
        return f"{hint}; the default is {default}."
    return f"{hint}."
