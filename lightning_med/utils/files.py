"""Files and folders that are written atomically: complete or absent."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE

from lightning_med.utils.errors import InputError, RunError

_SPARE = 2**25  # bytes of all files of a model's folder but the weights
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # begins a file that stands for another


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Makes an empty temporary file that replaces `path` at the end, or is removed on an error.

    Yields:
        The temporary path, in the same folder, so that the last step is one rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _choose_temporary(path)
    temporary.touch(exist_ok=False)
    permissions = temporary.stat().st_mode
    try:
        yield temporary
        if not temporary.is_symlink():
            _sync_path(temporary)
            temporary.chmod(S_IMODE(permissions))  # a writer may have put a private file in its place
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def make_temporary_folder(path: Path) -> Path:
    """Makes an empty folder beside `path`, in an existing folder, to be renamed to `path` once it is complete."""
    temporary = _choose_temporary(path)
    temporary.mkdir()
    return temporary


def _choose_temporary(path: Path) -> Path:
    """A hidden name beside `path` that nothing else has.

    What is made there gets the usual permissions from the system. tempfile would make it private, and to widen its
    permissions later one must know the umask. Python can only read that by setting it, and for an instant the files
    of other threads would be open to everyone.
    """
    return path.with_name(f".{path.name}-{secrets.token_hex(8)}")


def sync_files(folder: Path) -> None:
    """Writes a folder's entries and the files in it through to the disk, so that they survive a power cut."""
    for path in [file for file in folder.iterdir() if file.is_file()]:
        _sync_path(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Writes a folder's entries through to the disk, so that a power cut does not undo a rename."""
    if os.name != "nt":  # there, a folder cannot be opened
        _sync_path(folder)


def _sync_path(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows syncs only what it may write
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link_atomically(path: Path, target: Path) -> None:
    """Makes `path` a link to `target`, a file of the same folder; a copy where links cannot be made."""
    with write_atomically(path) as temporary:
        temporary.unlink()
        try:
            temporary.symlink_to(target.name)
        except OSError:  # Windows without the right to, some network drives
            shutil.copyfile(target, temporary)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_writable_folder(folder: Path, option: str) -> None:
    """Makes a folder for results.

    Args:
        folder: With its parents.
        option: The command's option that names another folder, for the message.

    Raises:
        InputError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}.", f"Name another place: {option}") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} cannot be written.", f"Name another place: {option}")


def check_space(output: Path, need: int) -> None:
    """Checks that the disk has room for the folder of a model.

    Args:
        output: The folder; it need not exist.
        need: Bytes of its weights.

    Raises:
        RunError: It has not.
    """
    parent = next(folder for folder in output.absolute().parents if folder.is_dir())
    need, free = need + _SPARE, shutil.disk_usage(parent).free
    if free < need:
        raise RunError(
            f"{output} cannot be written: it needs {need / 2**20:,.0f} MiB, and {free / 2**20:,.0f} MiB are free.",
            "Free that much, or name another --output.",
        )


def refuse_pointer(path: Path) -> None:
    """Refuses a file that `git clone` without Git LFS leaves in place of a large one.

    Raises:
        InputError: The file is such a pointer.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            what = f"{path} is a Git LFS pointer, not the file itself."
            raise InputError(what, f"Fetch the files: git -C {path.parent} lfs pull")
