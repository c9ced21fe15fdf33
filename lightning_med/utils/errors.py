"""The two exceptions that a command answers with lines instead of a traceback."""

from __future__ import annotations


class _Told(Exception):
    """Says what happened and how to mend it, in a line each.

    Args:
        what: What is wrong and where, in one line.
        mend: How to mend it, in one line; empty where `what` says it all.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what, mend)
        self.what = " ".join(what.split())
        self.mend = " ".join(mend.split())

    def __str__(self) -> str:
        return f"{self.what}\n  {self.mend}" if self.mend else self.what


class InputError(_Told):
    """The user's input is wrong; the command exits with 2."""


class RunError(_Told):
    """A run cannot go on, whatever its input: a full disk, a loss that is no number; the command exits with 1."""


def check(name: str, value: float, least: float, most: float = float("inf")) -> None:
    """Refuses a setting outside its range.

    Raises:
        InputError: `value` is below `least`, above `most`, or no number.
    """
    if not least <= value <= most:
        bounds = f"at least {least}" if most == float("inf") else f"between {least} and {most}"
        raise InputError(f"{name} is {value}.", f"It must be {bounds}.")
