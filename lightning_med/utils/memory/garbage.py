"""The garbage collector at a command's start and end, where it finds nothing and costs a third of the time."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pause_collection() -> Iterator[None]:
    """Pauses the cyclic collector, for imports and loading: what they make stays, and is walked again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def skip_last_collection() -> None:
    """Lets the interpreter exit without a last walk over all objects, which takes a second once torch is loaded."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
