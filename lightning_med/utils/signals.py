"""Signals that end a command, as an exception, so that cleanup code runs on the way out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# Windows has no SIGUSR1; Ctrl-C and SIGTERM work there.
CAUGHT = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


class Interrupted(Exception):
    """A signal ended the command.

    Attributes:
        code: The exit status, 128 + the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raises `Interrupted` for the caught signals within the context; restores the handlers afterwards."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    handlers = {}
    with suppress(ValueError):  # only the main thread may set handlers
        handlers = {number: signal.signal(number, stop) for number in CAUGHT}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
