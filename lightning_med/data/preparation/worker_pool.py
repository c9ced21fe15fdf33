"""Work spread over worker processes, with results in order."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any, TypeVar

from lightning_med.utils.signals import restore_handlers

T = TypeVar("T")
R = TypeVar("R")


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerPool:
    """Worker processes, started at the first use; with one process the work is done in the caller's.

    Loky's processes need no `if __name__ == "__main__"` in the caller's script and, unlike forked ones, copy no lock
    that another thread of this process holds. They end with this process, even where it is killed.

    Args:
        processes: Number of processes.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._executor: Any = None
        self._lifeline: Connection  # nothing is written to it: the system closes it when this process is gone

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
            self._lifeline.close()

    def map_ordered(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Applies a function to items; yields the results in order and reads a few items ahead.

        Args:
            function: At the top level of a module; it and its results are pickled.
            items: Read as results are taken; memory holds a few of them.
        """
        if self._processes == 1:
            yield from map(function, items)
            return
        if self._executor is None:
            self._start()
        pending: deque[Any] = deque()
        for item in items:
            pending.append(self._executor.submit(function, item))
            if len(pending) > self._processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _start(self) -> None:
        from loky import ProcessPoolExecutor

        watched, self._lifeline = Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(
            self._processes, initializer=_exit_with_parent, initargs=(watched,), env={"OMP_NUM_THREADS": "1"}
        )
        with _ignore_terminal():
            self._executor.submit(_do_nothing)  # starts all processes


def _do_nothing() -> None:
    pass


@contextlib.contextmanager
def _ignore_terminal() -> Iterator[None]:
    """Processes that are started inside it ignore what a terminal sends to all: Ctrl-C, and that it has been closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        restore_handlers(before)


def _exit_with_parent(parent: Connection) -> None:
    """Ends this process when the other end of a pipe is closed; loky's own processes would wait for work forever."""

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            parent.recv_bytes()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
