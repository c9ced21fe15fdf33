"""The bytes of a table as a stream: unpacked while they are read, and no more of them than a sound archive holds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

from lightning_med.data.sources.table_places import ARCHIVE, TablePlace, locate_table
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import refuse_pointer

_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_BROKEN = (
    *(EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, NotImplementedError),
    *(ValueError, struct.error),  # of an archive's directory: names that are not UTF-8, fields that are too short
)
_BUFFER = 1 << 16  # bytes
_MAX_RATIO = 200  # unpacked to packed; tables of text reach 20
_ALWAYS_READ = 1 << 26  # bytes that are unpacked whatever their ratio

Members = dict[tuple[str, ...], zipfile.ZipInfo]  # the files of an archive by their folders and name


def open_table(path: Path) -> BinaryIO:
    """Opens the bytes of a table, unpacked.

    Raises:
        InputError: What holds it is damaged, encrypted, or of another format than its name says; also while it is read.
        OSError: It cannot be read.
    """
    place = locate_table(path)
    if not place.is_packed:
        return path.open("rb")
    return cast(BinaryIO, io.BufferedReader(_Unpacked(path, place), _BUFFER))


@contextmanager
def open_whole(path: Path) -> Iterator[Path | BinaryIO]:
    """Gives a table to a reader that goes to and fro in it: as its path, or unpacked to a nameless temporary file."""
    place = locate_table(path)
    if not place.is_packed:
        yield place.file
        return
    with open_table(path) as packed, TemporaryFile() as file:
        shutil.copyfileobj(packed, file, _BUFFER)
        file.seek(0)
        yield cast(BinaryIO, file)


def list_members(archive: Path) -> Members:
    """Returns the files in a zip archive by their folders and name.

    Raises:
        InputError: It is damaged, holds two files of one name, or is a Git LFS pointer.
    """
    try:
        refuse_pointer(archive)
        return _open_archive(archive)[1]
    except _BROKEN as error:
        raise _explain(archive, error) from error


def _open_archive(file: Path) -> tuple[zipfile.ZipFile, Members]:
    """Returns an archive with its files, opened once for all of them: its directory is long where they are many."""
    stat = file.stat()
    return _keep_open(file, stat.st_size, stat.st_mtime_ns, stat.st_ino, os.getpid())  # a fork would share its position


@lru_cache(maxsize=4)
def _keep_open(file: Path, *_: int) -> tuple[zipfile.ZipFile, Members]:
    archive = zipfile.ZipFile(file)
    members: Members = {}
    for info in archive.infolist():
        member = tuple(name for name in info.filename.split("/") if name not in ("", "."))
        if info.is_dir():
            continue
        if member in members:
            raise InputError(f"{file} holds two files {'/'.join(member)}.", "Pack it again with one of them.")
        members[member] = info
    return archive, members


def check_expansion(path: Path, packed: int, unpacked: int) -> None:
    """Refuses what unpacks to far more than text does: it is made to fill the memory.

    Args:
        path: For the message.
        packed, unpacked: Bytes.

    Raises:
        InputError: It does.
    """
    if unpacked > max(_ALWAYS_READ, _MAX_RATIO * packed):
        raise InputError(
            f"{path} unpacks to over {_MAX_RATIO} times its size, {unpacked >> 20:,} MiB so far.",
            "If you trust it, unpack it first and name what comes out.",
        )


class _Unpacked(io.RawIOBase):
    """Unpacks as it is read.

    Args:
        path: For messages.
        place: Of the table.
    """

    def __init__(self, path: Path, place: TablePlace) -> None:
        self._path, self._given, self._closing = path, 0, ExitStack()
        with ExitStack() as opened:
            try:
                if place.member:
                    archive, members = _open_archive(place.file)
                    info = _find_member(path, members, place)
                    self._stream: Any = opened.enter_context(archive.open(info))
                    self._packed = info.compress_size
                else:
                    self._stream = opened.enter_context(place.file.open("rb"))
                    self._packed = place.file.stat().st_size
                if place.compression:
                    self._stream = opened.enter_context(_OPENERS[place.compression](self._stream))
            except _BROKEN as error:
                raise _explain(path, error) from error
            self._closing = opened.pop_all()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._stream.read(len(buffer))
        except _BROKEN as error:
            raise _explain(self._path, error) from error
        buffer[: len(content)] = content
        self._given += len(content)
        check_expansion(self._path, self._packed, self._given)
        return len(content)

    def close(self) -> None:
        self._closing.close()
        super().close()


def _find_member(path: Path, members: Members, place: TablePlace) -> zipfile.ZipInfo:
    info = members.get(place.member)
    if info is None:
        raise InputError(f"{path}: {place.file.name} has no such file.", f"List them: unzip -l {place.file}")
    if info.flag_bits & 1:
        raise InputError(f"{path} is encrypted.", "Unpack it with its password, and name what comes out.")
    return info


def _explain(path: Path, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno is not None:  # of the disk
        return InputError(f"{path} cannot be read: {error.strerror or error}.", "Look at the file and its disk.")
    kind = "zip archive" if path.suffix.lower() == ARCHIVE else "compressed file"
    return InputError(f"{path} is damaged or not a {kind}: {str(error) or 'it ends too early'}.", "Fetch it again.")


def explain_encoding(path: Path, encoding: str = "windows-1252") -> str:
    """Returns how to convert a table that is not UTF-8."""
    place = locate_table(path)
    name = path.name.removesuffix(place.compression)
    unpack = "Unpack and convert it" if place.is_packed else "Convert it"
    return f"{unpack}, for instance: iconv -f {encoding} -t utf-8 {name} > utf8-{name}"
