"""Signals that end a command, as an exception, so that cleanup code runs on the way out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Windows has neither SIGUSR1 nor SIGHUP; Ctrl-C and SIGTERM work there.
CAUGHT = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name))


class Interrupted(SystemExit):
    """A signal ended the command; no `except Exception` takes it for an error of the work.

    It is a `SystemExit` because asyncio passes that and `KeyboardInterrupt` on from its callbacks, and drops any other
    exception that a signal raises there.

    Attributes:
        code: The exit status, 128 + the signal's number.
    """

    code: int

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def list_caught() -> list[int]:
    """Returns the signals to catch here: none outside the main thread, and no SIGHUP that `nohup` has ignored."""
    if threading.current_thread() is not threading.main_thread():
        return []  # Python lets no other thread set handlers
    hangup = getattr(signal, "SIGHUP", None)
    return [number for number in CAUGHT if number != hangup or signal.getsignal(number) is not signal.SIG_IGN]


def set_handlers(handler: Callable[[int, FrameType | None], Any]) -> dict[int, Any]:
    """Sets the handler of the caught signals, and returns those that were there, for `restore_handlers`."""
    return {number: signal.signal(number, handler) for number in list_caught()}


def restore_handlers(handlers: dict[int, Any]) -> None:
    """Sets the handlers that `set_handlers` has replaced."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raises `Interrupted` for the caught signals within the context; restores the handlers afterwards.

    Python drops an exception that a signal raises within a finalizer; it is raised again at the end then.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise Interrupted(number)

    handlers = set_handlers(stop)
    try:
        yield
    finally:
        restore_handlers(handlers)
    if received:
        raise Interrupted(received[0])


@contextmanager
def call_on_interrupt(function: Callable[[], object]) -> Iterator[None]:
    """Within the context Ctrl-C calls a function instead of ending the command; other signals do what they did.

    Args:
        function: Called between two steps of the main thread, so it must take no lock that this thread may hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets no other thread set handlers
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: function())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
