"""Signals raised as exceptions, also on systems without SIGUSR1."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from lightning_med.utils.signals import CAUGHT, Interrupted, raise_on_signals


@pytest.mark.parametrize("number", CAUGHT)
def test_a_signal_raises_and_the_handlers_are_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as raised, raise_on_signals():
        os.kill(os.getpid(), number)
    assert raised.value.code == 128 + number
    assert signal.getsignal(number) is before


def test_the_command_and_the_trainer_import_without_sigusr1() -> None:
    """Windows has no SIGUSR1."""
    code = (
        "import signal; del signal.SIGUSR1;"
        "import lightning_med.cli.command, lightning_med.cli.trainer_command;"
        "from lightning_med.utils.signals import CAUGHT;"
        "print([one.name for one in CAUGHT])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "['SIGINT', 'SIGTERM']"
