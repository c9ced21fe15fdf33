"""An app on a port of this machine, for the length of a test."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from lightning_med.serving.server.listening import bind


def wait_for(find: Callable[[], Any], seconds: float = 20, explain: Callable[[], str] = str) -> Any:
    """Waits until something is true, for instance what a server does after a click, and returns it.

    Args:
        find: Looks.
        seconds: How long at most.
        explain: What else to say if it does not become true.
    """
    end = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < end, explain()
        time.sleep(0.02)
    return found


@contextmanager
def serve_app(app: Any) -> Iterator[str]:
    """Yields the app's address; the app is stopped afterwards."""
    listening = bind("127.0.0.1", 0)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
