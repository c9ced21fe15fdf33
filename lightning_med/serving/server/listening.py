"""Takes a port, and serves an app on it until a signal ends it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from lightning_med.utils.errors import InputError, RunError
from lightning_med.utils.signals import Interrupted, restore_handlers, set_handlers

_BACKLOG = 2048  # connections that the system accepts before we do


def bind(host: str, port: int) -> socket.socket:
    """Takes the port, before the model is loaded.

    Raises:
        InputError: It is in use, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere it would let two servers share the port
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
        taken.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        taken.close()
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"--host {host} --port {port}: {reason}.", "Name another one: --port N; 0 takes any."
        ) from error
    return taken


def run(app: FastAPI, listening: socket.socket) -> None:
    """Serves until a signal ends it; answers that are being written have some seconds more.

    Raises:
        Interrupted: A signal came, as always in the end.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        backlog=_BACKLOG,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        proxy_headers=False,  # a client must not choose the address that its pace is counted by
        server_header=False,
    )
    server = _Server(config)
    server.run(sockets=[listening])
    if server.received:
        raise Interrupted(server.received[0])
    if not server.started:
        raise RunError("The server did not start; what it wrote above says why.")


class _Server(uvicorn.Server):
    """Ends at the package's signals. uvicorn's own class raises them again within its event loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.received: list[int] = []

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        handlers = set_handlers(self._end)
        try:
            yield
        finally:
            restore_handlers(handlers)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        self.handle_exit(number, frame)  # a second Ctrl-C waits for no answer
