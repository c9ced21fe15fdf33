"""A file of lines that are only ever appended, each whole, and that none is lost of while the server runs."""

from __future__ import annotations

import logging
import os
import stat
import threading
from pathlib import Path

from lightning_med.utils.errors import InputError

_LOG = logging.getLogger(__name__)
_ACCESS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
_HINT = "Name a new file in a folder of yours."
_MARK = b'{"time": "'  # with which each record begins


class AuditFile:
    """The lines in a file; safe to use from several threads. It is made at once, readable by its owner only.

    A line that cannot be written, on a full disk for instance, is kept in memory until it can; `is_ready` says whether
    there is one. Who asks it before each answer keeps no more lines than answers that are on the way. A file that was
    moved or removed, for instance by logrotate, is made anew with the next line. Each line is whole in one file: one of
    which only a part was written is continued where that part ends the file, and written again everywhere else.

    Args:
        path: The file. An existing one is continued, if it is empty or holds records.

    Raises:
        InputError: The file cannot be written, or is no file of such lines.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._waiting, self._written = b"", 0  # whole lines, and how many bytes of the first one are in the file
        self._gap = b""  # goes before the next line
        self._error = ""
        try:
            self._check(path)
            self._handle = self._open()
        except OSError as error:
            raise InputError(f"{path} cannot hold the audit log: {error.strerror}.", _HINT) from error

    @staticmethod
    def _check(path: Path) -> None:
        """Refuses what must not be appended to: a pipe, a device, a file of something else."""
        if not path.exists():
            return
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} cannot hold the audit log: it is no file.", _HINT)
        with path.open("rb") as file:
            if not _MARK.startswith(file.read(len(_MARK))):
                raise InputError(f"{path} cannot hold the audit log: it holds something else.", _HINT)

    def _open(self) -> int:
        handle = os.open(self._path, _ACCESS, 0o600)
        try:
            if os.name == "posix":
                os.fchmod(handle, 0o600)  # an older file may be open to others
            self._begin_line()
        except OSError:
            os.close(handle)
            raise
        return handle

    def _begin_line(self) -> None:
        """The next line is written from its start, apart from a half one that the file may end with."""
        self._gap, self._written = b"" if _ends_whole(self._path) else b"\n", 0

    @property
    def is_ready(self) -> bool:
        """Whether all lines are written; tries again to write those that wait."""
        with self._lock:
            return self._write()

    def append(self, line: str) -> bool:
        """Appends a line, or keeps it for later.

        Args:
            line: Without its end.

        Returns:
            Whether it is written.
        """
        with self._lock:
            self._waiting += line.encode() + b"\n"
            return self._write()

    def _write(self) -> bool:
        """Writes what waits."""
        try:
            self._follow()
            while self._waiting:
                if self._gap:
                    os.write(self._handle, self._gap)
                    self._gap = b""
                self._written += os.write(self._handle, self._waiting[self._written :])
                whole = self._waiting.rfind(b"\n", 0, self._written) + 1
                self._waiting, self._written = self._waiting[whole:], self._written - whole
        except OSError as error:
            if not self._error:
                _LOG.error("The audit log %s cannot be written: %s. No question is answered.", self._path, error)
            self._error = str(error)
            return False
        if self._error:
            _LOG.error("The audit log %s is written again.", self._path)
        self._error = ""
        return True

    def _follow(self) -> None:
        """Opens the file anew where another one, or none, has its name; begins a half-written line again if need be."""
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            now = None
        own = os.fstat(self._handle)
        if now is None or (now.st_dev, now.st_ino) != (own.st_dev, own.st_ino):
            new = self._open()
            os.close(self._handle)
            self._handle = new
        elif self._written and own.st_size != os.lseek(self._handle, 0, os.SEEK_CUR):
            self._begin_line()  # the file was cut, or another server wrote into it

    def close(self) -> None:
        """Writes what waits, if that can be done, and closes the file."""
        with self._lock:
            if not self._write():
                count = self._waiting.count(b"\n")
                _LOG.error("%d lines of the audit log %s are lost: %s", count, self._path, self._error)
            os.close(self._handle)


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
