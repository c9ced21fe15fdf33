"""Files that are whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_med.utils.errors import InputError


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what is written there takes its place at the end, or vanishes on an error.

    Yields:
        The temporary path, in the same folder, so that the last step is one rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if not temporary.is_symlink():
            _sync_path(temporary)
            temporary.chmod(0o666 & ~get_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sync_files(folder: Path) -> None:
    """Brings a folder's entries and the files in it to the disk, so that a power cut finds them whole."""
    for path in [file for file in folder.iterdir() if file.is_file()]:
        _sync_path(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Brings a folder's entries to the disk, so that a power cut does not undo a rename."""
    if os.name != "nt":  # where a folder cannot be opened
        _sync_path(folder)


def _sync_path(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link_atomically(path: Path, target: Path) -> None:
    """Lets `path` lead to `target`, a file of the same folder, in one step; a copy where links cannot be made."""
    with write_atomically(path) as temporary:
        temporary.unlink()
        try:
            temporary.symlink_to(target.name)
        except OSError:  # Windows without the right to, some network drives
            shutil.copyfile(target, temporary)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_writable_folder(folder: Path, option: str) -> None:
    """Makes a folder that results will be written to.

    Raises:
        InputError: It cannot be made or written; `option` is what names another.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}.", f"Name another place: {option}") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} cannot be written.", f"Name another place: {option}")


def get_umask() -> int:
    """The permissions that this process withholds; temporary files and folders are made private whatever it says."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
