"""The argument parser of verbs that need no trainer."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from lightning_med.cli.parsing.nearest import find_nearest, suggest
from lightning_med.utils.errors import InputError

_CHOICE = re.compile(r"argument (\S+): invalid choice: (.*) \(choose from (.*)\)")
_NO_VALUE = re.compile(r"argument (\S+): expected one argument")
_REQUIRED = "the following arguments are required: "


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises `InputError` instead of printing the usage, and accepts no shortened options."""

    def __init__(self, prog: str, description: str | None) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)
        self.options: list[str] = ["-h", "--help"]

    def add_argument(self, *names: Any, **kwargs: Any) -> argparse.Action:
        if hasattr(self, "options"):
            self.options += [name for name in names if name.startswith("-")]
        return super().add_argument(*names, **kwargs)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        words = sys.argv[1:] if args is None else list(args)
        for word in words[: words.index("--")] if "--" in words else words:
            name = word.partition("=")[0]
            if name.startswith("--") and " " not in name and name not in self.options:
                raise InputError(f"{name} is no option of {self._verb}.", suggest(name, self.options, self._help))
        return super().parse_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        if match := _CHOICE.fullmatch(message):
            given, choices = match[2].strip("'"), [choice.strip("' ") for choice in match[3].split(",")]
            hint = f"It takes {' or '.join(choices)}."
            near = find_nearest(given, choices)
            raise InputError(
                f"{match[1]} cannot be {given or 'empty'}.", f"Did you mean {near}? {hint}" if near else hint
            )
        if match := _NO_VALUE.fullmatch(message):
            raise InputError(f"{match[1]} needs a value.", self._help)
        if message.startswith(_REQUIRED):
            missing = message.removeprefix(_REQUIRED).replace(", ", " and ")
            raise InputError(f"{self._verb} needs {missing}.", self._help)
        raise InputError(f"{self._verb}: {message}.", self._help)

    @property
    def _verb(self) -> str:
        return self.prog.split()[-1]

    @property
    def _help(self) -> str:
        return f"{self.prog} --help shows the options."
