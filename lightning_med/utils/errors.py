"""The two exceptions that a command answers with one or two lines instead of a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Says what happened and how to fix it, in one line each.

    Args:
        what: What is wrong and where.
        hint: How to fix it; empty where `what` says it all.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what, hint)
        self.what = " ".join(what.split())
        self.hint = " ".join(hint.split())

    def __str__(self) -> str:
        return f"{self.what}\n  {self.hint}" if self.hint else self.what


class InputError(UserError):
    """The user's input is wrong; the command exits with 2."""


class UnavailableError(InputError):
    """Something that the input names cannot be reached: no such folder, no network, no access."""


class RunError(UserError):
    """A run cannot continue although its input is right: a full disk, a loss that is not finite. It exits with 1."""


def describe_error(error: BaseException, limit: int | None = None) -> str:
    """Returns the first line of an error's text, or its class where it has none.

    Args:
        error: Of a library.
        limit: Characters at most.
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0][:limit]


def check_range(name: str, value: float, least: float, most: float = float("inf")) -> None:
    """Refuses a setting outside its range.

    Raises:
        InputError: `value` is below `least`, above `most`, or not a number.
    """
    if not least <= value <= most:
        bounds = f"at least {least}" if most == float("inf") else f"between {least} and {most}"
        raise InputError(f"{name} is {value}.", f"It must be {bounds}.")


def check_text(name: str, value: object) -> None:
    """Refuses what is no text.

    Raises:
        InputError: `value` is not a string.
    """
    if not isinstance(value, str):
        raise InputError(f"{name} is {type(value).__name__} {str(value)[:40]!r}, not text.", "Give a string.")
