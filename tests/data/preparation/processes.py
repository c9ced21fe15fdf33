"""Other processes, for tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

CODE = """
import sys
from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation import pipeline as preparation
from lightning_med.data.report.data_report import print_report
from lightning_med.data.sources import table_files as tables
settings = {"max_length": 128, "eval_max_length": 256, "system_prompt": "Be kind."}
recipe = DialogueDataModule(sys.argv[1], "train", 400, **settings).recipe
"""


def run(code: str, source: Path) -> subprocess.Popen[str]:
    """Runs code in another process, after `CODE`."""
    command = [sys.executable, "-c", CODE + code, str(source)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


PATIENCE = 60.0  # seconds to wait for what usually takes one or two


def until(condition: Callable[[], Any], process: subprocess.Popen[Any]) -> Any:
    """Waits for a condition while a process runs; returns its value."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        assert process.poll() is None, "the process ended too soon"
        time.sleep(0.005)
    raise AssertionError("the condition was never true")


def of_session(leader: int) -> list[psutil.Process]:
    """All running processes of a session, whatever their parent is now."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
    return processes


def assert_all_end(leader: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while left := of_session(leader):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)
