"""The one exception for a user's mistake."""

from __future__ import annotations


class InputError(Exception):
    """The user's input is wrong. The command prints `what` and `mend` in two lines and exits with 2.

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


def check(name: str, value: float, least: float, most: float = float("inf")) -> None:
    """Refuses a setting outside its range.

    Raises:
        InputError: `value` is below `least`, above `most`, or no number.
    """
    if not least <= value <= most:
        bounds = f"at least {least}" if most == float("inf") else f"between {least} and {most}"
        raise InputError(f"{name} is {value}.", f"It must be {bounds}.")
