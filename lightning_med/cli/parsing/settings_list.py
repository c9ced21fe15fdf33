"""The settings that a verb's parser knows. Every use of jsonargparse's and argparse's private names stands here.

Written for jsonargparse 4.53. `PRIVATE_NAMES` lists what is relied on; a test fails for a release that lacks a name.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jsonargparse
from jsonargparse._actions import _ActionConfigLoad
from jsonargparse._typehints import ActionTypeHint

from lightning_med.cli.parsing.type_words import list_alternatives, list_classes

WRITTEN_FOR = "4.53"
PRIVATE_NAMES: dict[str, tuple[str, ...]] = {
    "parser": ("_actions",),
    "action": ("_typehint",),  # of ActionTypeHint
    "verb": ("subcommand", "parent_parser"),  # of a subcommand's parser
}


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        key: With its section, for instance `model.lr`.
        typehint: Of its value.
    """

    key: str
    typehint: Any

    @property
    def takes_null(self) -> bool:
        return any(kind in (None, type(None), Any) for kind in list_alternatives(self.typehint))

    @cached_property
    def classes(self) -> list[type]:
        """The classes of which it takes objects."""
        return list_classes(self.typehint)

    def accepts(self, value: Any, is_word: bool) -> bool:
        """Returns whether the parser would take a value.

        Args:
            value: Plain, as YAML gives it.
            is_word: It is a word of the command line, yet to be read.
        """
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_argument("--x", type=self.typehint)
        try:
            parser.parse_args([f"--x={value}"]) if is_word else parser.parse_object({"x": value})
        except Exception:  # of many kinds, for a value that fits none of several types
            return False
        return True


class SettingsList:
    """The settings of a parser.

    Args:
        parser: Of a verb, or of a class whose arguments are the settings.
    """

    def __init__(self, parser: jsonargparse.ArgumentParser) -> None:
        actions = parser._actions
        self.values = {a.dest: Setting(a.dest, a._typehint) for a in actions if isinstance(a, ActionTypeHint)}
        self.sections = {a.dest for a in actions if isinstance(a, _ActionConfigLoad)}
        typed = (ActionTypeHint, _ActionConfigLoad)
        others = [word for a in actions if not isinstance(a, typed) for word in a.option_strings]
        self.others = [word.lstrip("-") for word in others]  # config, help and their like

    @property
    def names(self) -> list[str]:
        """Everything that can be given."""
        helps = (name for name in self.others if len(name) > 1 and not name.endswith(".help"))
        return [*self.values, *self.sections, *helps]

    def find_owner(self, key: str) -> Setting | None:
        """Returns the setting that a key names a part of, for instance `optimizer` for `optimizer.lr`."""
        while "." in key:
            key = key.rpartition(".")[0]
            if key in self.values:
                return self.values[key]
        return None


def list_verbs_with(parser: jsonargparse.ArgumentParser, key: str) -> list[str]:
    """Returns the other verbs that have a setting, given the parser of one."""
    top = getattr(parser, "parent_parser", None)
    actions = [] if top is None else [a for a in top._actions if isinstance(a, argparse._SubParsersAction)]
    return [verb for action in actions for verb, one in action.choices.items() if key in SettingsList(one).values]


def find_verb_parser(parser: jsonargparse.ArgumentParser, verb: str) -> jsonargparse.ArgumentParser | None:
    """Returns the parser of a verb."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices.get(verb)  # type: ignore[return-value]
    return None
