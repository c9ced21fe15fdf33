"""The parser of the verbs that run a trainer."""

from __future__ import annotations

import re
import sys
from typing import Any

from jsonargparse import set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from lightning_med.cli.parsing.faults import check_given, find_fault
from lightning_med.cli.parsing.settings_list import find_verb_parser
from lightning_med.utils.errors import InputError

_OWN_WORDS = re.compile(r"Parser key \"|argument (?=-)|\"(?=:)|^\W+|<class '|'>|typing\.|NoneType")


class SettingsParser(LightningArgumentParser):
    """Lightning's parser with errors of two lines, and without shortened options, which hide a misspelling."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        set_parsing_settings(config_read_mode_fsspec_enabled=False)  # Lightning's default reads configs from addresses

    def parse_args(self, args: Any = None, *more: Any, **kwargs: Any) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        if (verb := find_verb_parser(self, words[0]) if words else None) is not None:
            check_given(verb, words[1:])
        return super().parse_args(args, *more, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if not self.exit_on_error:  # a parser of jsonargparse's own, which goes on with another type
            super().error(message, ex)
        top = getattr(self, "parent_parser", self)
        verb, *words = top.args
        parser = find_verb_parser(top, verb)
        fault = find_fault(parser, words, verb) if parser else None
        raise fault or InputError(_shorten(message), f"lightning-med {verb} --help shows what each setting takes.")


def _shorten(message: str) -> str:
    """Returns the line of a parser's message that says most, without the parser's own words."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    line = _OWN_WORDS.sub("", lines[0]).rstrip(": ")[:200]
    return f"{line}: its value is not accepted." if len(lines) > 1 else f"{line}."
