"""The collector is paused and comes back."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from lightning_med.cli.command import main
from lightning_med.utils.memory.garbage import pause_collection


def test_collection_is_paused_and_goes_on_also_after_an_error() -> None:
    enabled = []

    def fail() -> None:
        with pause_collection():
            enabled.append(gc.isenabled())
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert enabled == [False]
    assert gc.isenabled()


def test_a_paused_collector_stays_paused() -> None:
    gc.disable()
    try:
        with pause_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_command_leaves_the_collector_on(capsys: pytest.CaptureFixture[str]) -> None:
    made: list[object] = []
    assert main(["triage", "My tongue is sore."]) == 0
    assert gc.isenabled()
    assert any(walked is made for walked in gc.get_objects())  # Python 3.12 freezes objects of its own: no count tells


def read_last_line(code: str) -> str:
    """Runs a program in a process of its own; returns the last line that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_process_of_its_own_walks_no_imports() -> None:
    code = (
        "import gc, sys\n"
        "from lightning_med.cli.command import main\n"
        "made, sys.argv = [], ['lightning-med', 'triage', 'My tongue is sore.']\n"
        "main()\n"
        "print('walked:', any(walked is made for walked in gc.get_objects()), gc.isenabled())\n"
    )
    assert read_last_line(code) == "walked: False True"


def test_what_is_alive_at_exit_is_not_walked_and_other_functions_at_exit_run() -> None:
    code = (
        "import atexit, gc\n"
        "made = []\n"
        "atexit.register(lambda: print('walked:', any(walked is made for walked in gc.get_objects())))\n"
        "from lightning_med.cli.command import main\n"
        "main(['triage', 'My tongue is sore.'])\n"
    )
    assert read_last_line(code) == "walked: False"
