"""The argument parser of verbs that need no trainer."""

from __future__ import annotations

import argparse
from typing import NoReturn

from lightning_med.utils.errors import InputError


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises `InputError` instead of printing the usage, and accepts no shortened options."""

    def __init__(self, prog: str, description: str | None) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog.split()[-1]}: {message}.", f"{self.prog} --help shows the options.")
