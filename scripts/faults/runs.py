"""Real runs of the command in child processes, forked from a process that has imported everything."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import lightning_med.cli.trainer_command  # noqa: F401 - imported once here instead of in every fork
from lightning_med.cli.command import main

Result = tuple[str, int, int]  # what was tested, how often it held, of how many attempts
Progress = Callable[[str, int, int], None]  # shows what is done, how much is done, of how much
Injection = Callable[[], None]  # patches the child before its command runs; see faults.injection


class Child:
    """A forked process that runs the command; its output is appended to the file `log` in its working folder.

    Args:
        argv: Arguments of the command.
        cwd: Working folder; created if missing.
        inject: Called in the child before the command.
    """

    def __init__(self, argv: list[str], cwd: Path, inject: Injection | None = None) -> None:
        cwd.mkdir(parents=True, exist_ok=True)
        self.log = cwd / "log"
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(self._run(argv, cwd, inject))
        self.code: int | None = None

    def _run(self, argv: list[str], cwd: Path, inject: Injection | None) -> int:
        try:
            handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os.chdir(cwd)
            if inject is not None:
                inject()
            code = main(argv)
            sys.stdout.flush()
            return code
        except BaseException:
            traceback.print_exc()
            return 1

    def wait(self, limit: float = 120.0) -> int:
        """Waits for the end and returns the exit status, negative after a signal.

        Raises:
            TimeoutError: The child still ran after `limit` seconds and was killed.
        """
        end = time.monotonic() + limit
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                self.send_signal(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"A run hung: {self.read_log()[-800:]}")
            else:
                time.sleep(0.005)
        return self.code

    def send_signal(self, number: int) -> None:
        if self.code is None:
            os.kill(self.pid, number)

    def read_log(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def start_fit(config: Path, cwd: Path, *options: str, inject: Injection | None = None) -> Child:
    """Starts `fit` in a child process."""
    return Child(["fit", "--config", str(config), "--name", "torture", *options], cwd, inject)


def complete_fit(config: Path, cwd: Path, *options: str) -> None:
    """Runs `fit` without a fault.

    Raises:
        RuntimeError: It failed.
    """
    child = start_fit(config, cwd, *options)
    if child.wait():
        raise RuntimeError(f"A run without a fault failed: {child.read_log()[-800:]}")


def get_run_folder(cwd: Path) -> Path:
    """Returns the folder of the run that `start_fit` starts in a working folder."""
    return cwd / "lightning_logs" / "torture" / "version_0"
