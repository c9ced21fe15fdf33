"""Servers that a script starts on this machine: a free port, an answer without a proxy, and an end that is sure.

The standard library alone: `check_wheel.py` runs where this project is not installed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

PATIENCE = 120.0  # seconds until a server must answer
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine's ports


class ServerError(RuntimeError):
    """A server that does not start; the text ends with what it wrote."""


def find_free_port() -> str:
    """Returns a port of this machine that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@contextmanager
def run_server(
    command: Sequence[str],
    paths: Sequence[str],
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Runs a server on a free port until it is no longer needed.

    Args:
        command: Its words; the word `PORT` becomes the port.
        paths: Where it answers once it is ready.
        folder: Its current folder.
        environment: Its variables.

    Yields:
        Its address, without a path.

    Raises:
        ServerError: It ends, or does not answer in time.
    """
    port = find_free_port()
    words = [port if word == "PORT" else word for word in command]
    with tempfile.TemporaryFile("w+", errors="replace") as log:  # a pipe that nobody reads would fill up
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            for path in paths:
                if not wait_until_ready(process, address + path):
                    log.seek(0)
                    raise ServerError(f"{' '.join(words)} never answered at {address + path}.\n{log.read()[-1000:]}")
            yield address
        finally:
            stop_group(process, signal.SIGTERM)


def wait_until_ready(process: subprocess.Popen[bytes], address: str, patience: float = PATIENCE) -> bool:
    """Waits until an address answers with status 200.

    Args:
        process: The server.
        address: Where it answers once it is ready.
        patience: Seconds to wait at most.

    Returns:
        False if the process ends before that, or the time is over.
    """
    end = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError, HTTPException), _DIRECT.open(address, timeout=5) as answer:
            if answer.status == 200:
                return True
        time.sleep(0.2)
    return False


def stop_group(process: subprocess.Popen[bytes], number: int, patience: float = 10) -> None:
    """Ends a process and all that is left of its group.

    Args:
        process: Was started with `start_new_session`.
        number: The signal that the group gets while the process runs; what is there after it gets SIGKILL.
        patience: Seconds to wait before that.
    """
    if process.poll() is None:
        _signal_group(process, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    _signal_group(process, signal.SIGKILL)
    process.wait(patience)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):  # nobody is left
        os.killpg(process.pid, number)
