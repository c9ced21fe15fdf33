"""Marks of what a process uses of the cache, so that clearing leaves it. The system takes a mark away with its process.

A mark is a shared lock (`flock`) on a file of the entry itself; who wants to delete the entry needs the lock alone.
Windows has no such locks, and deletes no open file either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Mark:
    """An entry of the cache that is in use until this is closed; it counts as used now.

    A deletion that has begun is waited for, so that what is there with a mark stays.

    Args:
        entry: A file, or a folder of files.

    Attributes:
        is_there: Whether the entry is there; else it was deleted before it was marked.
    """

    def __init__(self, entry: Path) -> None:
        self._file: IO[bytes] | None = None
        with suppress(OSError):  # the cache may be for reading only, the entry damaged, the disk without locks
            while not self._lock(_find_file(entry)):
                self.close()
            os.utime(entry)
        self.is_there = entry.exists()

    def _lock(self, path: Path) -> bool:
        """Locks a file; returns whether it still has its name, which it loses where it is deleted before."""
        self._file = path.open("rb")
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_SH)
        return path.exists() and os.path.samestat(os.fstat(self._file.fileno()), path.stat())

    def close(self) -> None:
        """Ends the use."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Mark:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def claim_entry(entry: Path, lock: Path | None) -> Iterator[bool]:
    """Tells whether an entry may be deleted within the context: nobody makes it, and nobody uses it.

    Args:
        entry: A file, or a folder of files; it need not exist.
        lock: The file that is locked while the entry is made.
    """
    with ExitStack() as stack:
        try:
            if lock is not None:
                stack.enter_context(FileLock(lock, timeout=0))
            file = stack.enter_context(_find_file(entry).open("r+b"))
            if fcntl is None:
                file.close()
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:  # a folder without files is of no use to anybody
            yield True
            return
        except (Timeout, BlockingIOError):
            yield False
            return
        yield True


def _find_file(entry: Path) -> Path:
    """Returns the file that is locked for an entry: itself, or the first one of a folder."""
    if entry.is_file():
        return entry
    files = sorted(path for path in entry.iterdir() if path.is_file())
    if not files:
        raise FileNotFoundError(entry)
    return files[0]
