"""A fixture for tests that change signal handlers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[signal.Signals, Any]]:
    """The signal handlers before the test, which are restored after it."""
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which `nohup` would have ignored
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in HANDLED}
    yield before
    before[signal.SIGHUP] = hangup
    for number, handler in before.items():
        signal.signal(number, handler)
