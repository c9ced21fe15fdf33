"""The options of a parser, as its help shows them, without the help's line breaks."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass

_TYPED = re.compile(
    r"\s*\((?:required, )?type: (?P<type>.*?)(?:, default: (?P<default>.*?))?"
    r"(?:, known subclasses: (?P<classes>.*))?\)$",
    re.S,
)
_DEFAULT = re.compile(r"\s*\(default: (?P<default>[^()]*)\)$")
_CODE = re.compile(r"(`[^`]+`)")
_REPEATED = re.compile(r"\s*Default: `+[^`]*`+\.?$")  # in Lightning's words, before the one that the help adds
_LINK = re.compile(r"`([^`<]+) <(https?://[^>]+)>`_+")
_ROLE = re.compile(r":\w+:(?=`)")  # of reStructuredText, in Lightning's docstrings
_SPECIAL = re.compile(r"([\\*_{}\[\]#|~^=])")


@dataclass(frozen=True)
class Option:
    """An option or an argument without a name of its own.

    Attributes:
        names: As given on the command line; for an argument what the usage calls it.
        value: What the help puts after the names, empty for a switch.
        type: Of the value, empty where the help has none.
        default: As the help shows it; empty where there is none or the text names it.
        classes: Those that the help lists as known, where the value is an object.
    """

    names: tuple[str, ...]
    value: str
    help: str
    type: str = ""
    default: str = ""
    classes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The long one of its names."""
        return next((name for name in self.names if name.startswith("--")), self.names[0])


@dataclass(frozen=True)
class Group:
    """A group of a help.

    Attributes:
        section: Its settings' first part, for instance `data` of `--data.source`; empty for a verb's own options.
    """

    title: str
    section: str
    options: list[Option]


def list_groups(parser: argparse.ArgumentParser) -> list[Group]:
    """Returns the groups of a parser that have options."""
    formatter = parser._get_formatter()
    groups = []
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.help != argparse.SUPPRESS]
        options = [_read(a, formatter) for a in actions if not isinstance(a, argparse._SubParsersAction)]
        title = str(group.title)
        word = title.partition(" ")[0]
        section = word if any(option.names[0].startswith(f"--{word}.") for option in options) else ""
        if options:
            groups.append(Group(title, section, options))
    return groups


def _read(action: argparse.Action, formatter: argparse.HelpFormatter) -> Option:
    metavar = formatter._get_default_metavar_for_optional(action).rpartition(".")[2]
    value = formatter._format_args(action, metavar).strip("\b ") if action.option_strings else ""
    text = " ".join(formatter._expand_help(action).split()) if action.help else ""
    names = tuple(action.option_strings) or (formatter._format_args(action, action.dest),)
    if match := _TYPED.search(text):
        classes = tuple(name for name in (match["classes"] or "").split(", ") if name)
        words = _REPEATED.sub("", text[: match.start()])
        return Option(names, value, words, match["type"], match["default"] or "", classes)
    if match := _DEFAULT.search(text):
        return Option(names, value, text[: match.start()], default=match["default"])
    given = action.default if action.default not in (None, False, argparse.SUPPRESS) and "default" not in text else ""
    return Option(names, value, text, default=str(given))


def escape_text(text: str) -> str:
    """Returns a help's text as Markdown: its code stays code, and no other sign has a meaning."""
    parts = _CODE.split(_ROLE.sub("", _LINK.sub(r"\1 (\2)", text.replace("``", "`"))))
    return "".join(part if i % 2 else _escape_words(part) for i, part in enumerate(parts))


def _escape_words(text: str) -> str:
    return (
        _SPECIAL.sub(r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "\\`")
    )
