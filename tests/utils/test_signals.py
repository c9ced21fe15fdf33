"""Signals raised as exceptions, also on systems without SIGUSR1 and SIGHUP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from lightning_med.utils.signals import CAUGHT, Interrupted, raise_on_signals
from tests.signal_fixtures import handlers  # noqa: F401


@pytest.mark.parametrize("number", CAUGHT)
def test_a_signal_raises_and_the_handlers_are_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as raised, raise_on_signals():
        os.kill(os.getpid(), number)
    assert raised.value.code == 128 + number
    assert signal.getsignal(number) is before


def test_no_handling_of_errors_takes_a_signal_for_one() -> None:
    def swallow_errors() -> None:  # as libraries do
        with contextlib.suppress(Exception):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted), raise_on_signals():
        swallow_errors()


def test_a_callback_of_asyncio_does_not_swallow_a_signal() -> None:
    async def wait() -> None:  # as a prompt does while a person types
        loop = asyncio.get_running_loop()
        loop.call_soon(os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.1)
        swallowed.append(True)

    swallowed: list[bool] = []
    with pytest.raises(Interrupted), raise_on_signals():
        asyncio.run(wait())
    assert not swallowed


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raise_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_a_thread_no_handler_is_touched() -> None:
    seen = []

    def work() -> None:
        with raise_on_signals():
            seen.append([signal.getsignal(number) for number in CAUGHT])

    before = [signal.getsignal(number) for number in CAUGHT]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.slow
def test_the_command_and_the_trainer_import_without_signals_that_windows_lacks() -> None:
    code = (
        "import signal; del signal.SIGUSR1, signal.SIGHUP;"
        "import lightning_med.cli.command, lightning_med.cli.trainer_command;"
        "from lightning_med.utils.signals import CAUGHT;"
        "print([one.name for one in CAUGHT])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "['SIGINT', 'SIGTERM']"
