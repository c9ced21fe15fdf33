"""A fixture for tests that change signal handlers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[signal.Signals, Any]]:
    """The signal handlers before the test, which are restored after it."""
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in HANDLED}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)
