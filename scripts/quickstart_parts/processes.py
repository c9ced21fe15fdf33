"""Child processes: each gives its memory back when it ends."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Callable

from lightning_med.utils.errors import InputError, RunError
from lightning_med.utils.signals import Interrupted, raise_on_signals


def run_child(argv: list[str], quiet: bool = False) -> tuple[int, str]:
    """Runs Python with some arguments until it ends, and ends it on a signal.

    Args:
        argv: After the interpreter's name.
        quiet: Keeps what it writes from the terminal.

    Returns:
        The exit status, negative if a signal ended it, and what it wrote to standard error if it is quiet.

    Raises:
        Interrupted: A signal came; the child has ended.
    """
    output = subprocess.PIPE if quiet else None
    with (
        raise_on_signals(),
        subprocess.Popen([sys.executable, *argv], stdout=output, stderr=output, text=True) as child,
    ):
        try:
            errors = child.communicate()[1]
        except Interrupted as interrupted:
            if interrupted.code != 128 + signal.SIGINT:  # Ctrl-C reaches the child too
                child.terminate()
            child.communicate()
            raise
    return child.returncode, errors or ""


def report_errors(work: Callable[[], object]) -> int:
    """Calls a script's work, and prints an error that it owes to the user.

    Returns:
        The exit status: 0 done, 2 wrong input, 1 a run that failed.
    """
    try:
        work()
    except (InputError, RunError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


def measure_peak_memory() -> float:
    """Returns the largest resident memory of this process and of each child that has ended, in GiB."""
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(peaks) / (2**30 if sys.platform == "darwin" else 2**20)
