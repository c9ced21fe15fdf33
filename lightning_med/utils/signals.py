"""Signals that end a command: an exception of their own, so that whatever is half done is taken back on the way out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(Exception):
    """A signal ended the command; `code` is the exit status, 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Within it the signals raise `Interrupted`; after it they do what they did before."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = {}
    with suppress(ValueError):  # only the main thread may set handlers
        before = {number: signal.signal(number, stop) for number in CAUGHT}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
