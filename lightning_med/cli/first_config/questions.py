"""Questions on the terminal or in a pipe, each with a default."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from lightning_med.utils.errors import InputError

_T = TypeVar("_T")


def is_terminal() -> bool:
    """Returns whether a person answers."""
    return sys.stdin.isatty()


def ask(question: str, default: str | None, read: Callable[[str], _T]) -> _T:
    """Asks a question until its answer can be read; in a pipe once.

    An empty line takes the default, and so does a pipe that has ended. What is asked goes to standard error.

    Args:
        question: In one line.
        default: `None` where there is none: then an answer is needed.
        read: Makes a value of an answer, or raises `InputError`.

    Raises:
        InputError: The answer in a pipe cannot be read, or a person has ended the input (Ctrl-D).
    """
    while True:
        shown = f" [{default}]" if default else ""
        print(f"{question}{shown}: ", end="" if is_terminal() else "\n", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line and is_terminal():
            print(file=sys.stderr)
            raise InputError("init was ended before its last answer.", "Nothing is written.")
        answer = line.strip() or default or ""
        try:
            if not answer:
                raise InputError("An answer is needed here.", "There is no default.")
            return read(answer)
        except InputError as error:
            if not is_terminal():
                raise
            print(error, file=sys.stderr)
