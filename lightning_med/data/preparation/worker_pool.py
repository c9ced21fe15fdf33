"""Work spread over the cores, its results in order."""

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

T = TypeVar("T")
R = TypeVar("R")


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerPool:
    """Processes that work side by side; or this one, where there is little to do.

    Loky's processes need no `if __name__ == "__main__"` in the caller's script, and copy no lock that another thread
    of this process holds, as forked ones would. They end with this process, even where it is killed.

    Args:
        processes: With 1 the work is done here.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._executor: Any = None
        self._held: Connection  # no one writes to it: the system closes it when this process is gone

    def __enter__(self) -> WorkerPool:
        if self._processes > 1:
            from loky import ProcessPoolExecutor

            watched, self._held = Pipe(duplex=False)
            self._executor = ProcessPoolExecutor(
                self._processes, initializer=_exit_with_parent, initargs=(watched,), env={"OMP_NUM_THREADS": "1"}
            )
            with _ignore_interrupts():
                self._executor.submit(_do_nothing)  # starts all processes
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
            self._held.close()

    def ordered(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Applies a function to items, a few items ahead of what is taken.

        Args:
            function: Of a module; it and its results travel by pickle.
            items: Taken as results are; memory holds a few of them, not all.
        """
        if self._executor is None:
            yield from map(function, items)
            return
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(self._executor.submit(function, item))
            if len(waiting) > self._processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _do_nothing() -> None:
    pass


@contextlib.contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """A process that is started here never hears a terminal's Ctrl-C, which is for its parent to answer."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _exit_with_parent(parent: Connection) -> None:
    """Ends this process when the other end of a pipe is closed; loky's own would wait for work for ever."""

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            parent.recv_bytes()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
