"""Folders of the cache: made once, atomically, by one process while others wait."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from filelock import FileLock, Timeout

from lightning_med.utils.errors import InputError
from lightning_med.utils.files import make_temporary_folder, sync_files, sync_folder

CLEAN_ROWS = "clean_rows"  # the folder of the first level of prepared data
GGUF = "gguf"  # that of the files that llama.cpp reads
DIGESTS = "source_digests.json"


def find_cache_root(cache_dir: str | None) -> Path:
    """Returns the folder of the cache: `cache_dir`, else `$LIGHTNING_MED_CACHE`, else `~/.cache/lightning_med`."""
    return Path(cache_dir or os.environ.get("LIGHTNING_MED_CACHE") or "~/.cache/lightning_med").expanduser()


def make_cache_root(cache_dir: str | None) -> Path:
    """Makes the folder of the cache if it is missing.

    Raises:
        InputError: It cannot be made or written.
    """
    root = find_cache_root(cache_dir)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not os.access(root, os.W_OK):
            raise PermissionError
    except OSError as error:
        raise InputError(f"The cache {root} cannot be written.", "Name another: --data.cache_dir FOLDER") from error
    return root


def find_or_make(folder: Path, make: Callable[[Path], None]) -> bool:
    """Makes a folder unless it exists; processes that want the same one wait for the first.

    Args:
        folder: Complete once it has this name.
        make: Fills the empty folder that it is given, which is then synced and renamed.

    Returns:
        Whether the folder existed.
    """
    folder.parent.mkdir(exist_ok=True)
    with FileLock(get_lock_path(folder)):
        if folder.is_dir():
            return True
        _remove_leftovers(folder)
        temporary = make_temporary_folder(folder)
        try:
            make(temporary)
            sync_files(temporary)
            os.replace(temporary, folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return False


def get_lock_path(folder: Path) -> Path:
    """Returns the file that is locked while a folder is made."""
    return folder.with_name(f"{folder.name}.lock")


def _remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left beside a folder whose lock is held; running processes hold theirs."""
    for leftover in folder.parent.glob(".*-*"):
        name = leftover.name[1:].rsplit("-", 1)[0]
        lock = folder.parent / f"{name}.lock"
        if name == folder.name:
            shutil.rmtree(leftover, ignore_errors=True)
        elif leftover.is_dir() and lock.exists():
            try:
                with FileLock(lock, timeout=0):
                    shutil.rmtree(leftover, ignore_errors=True)
            except Timeout:
                pass


@contextmanager
def refuse_damaged(folder: Path) -> Iterator[None]:
    """Raises one clear `InputError` for anything that goes wrong while files of a folder are read."""
    try:
        yield
    except (OSError, EOFError, ValueError, KeyError, pa.ArrowException) as error:
        raise InputError(f"The prepared data {folder} is damaged.", "Delete that folder and run again.") from error
