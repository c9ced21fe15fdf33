"""A run's folder: `ROOT/lightning_logs/NAME/version_N`."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lightning_med.utils.errors import InputError

RUNS = "lightning_logs"
SETTINGS = "config.yaml"  # the run's settings, in its folder
LOCK = ".lock"  # held by the process that trains
_ORIGIN = "# The run began with --config "  # first line of the settings; then the file
_LOCK_TIMEOUT = 10.0  # seconds; loader processes of a killed run notice it within some, and hold its lock until then
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names of devices on Windows
_VERSION = re.compile(r"version_(\d+)")


def clean_name(name: str) -> str:
    """Returns a name that can be a folder's everywhere and needs no quotes in a shell; empty where nothing is left.

    Letters and digits of any script stay, and `.`, `_` and `-` within. Everything else becomes `-`.
    """
    name = unicodedata.normalize("NFC", name)  # as file systems differ in this
    kept = "".join(c if c in "._-" or c.isalnum() or (ord(c) > 127 and c.isprintable()) else "-" for c in name)
    kept = kept.strip(".-")
    return f"run-{kept}" if _RESERVED.fullmatch(kept) else kept


def get_runs_folder(root: str | Path | None, name: str) -> Path:
    """Returns the folder of all runs of one name.

    Raises:
        InputError: The name could lead out of the folder, or would not do everywhere.
    """
    good = clean_name(name)
    if not name or good != unicodedata.normalize("NFC", name):
        hint = f"For instance --name {good}" if good else "Letters, digits, '.', '_' and '-', no folder in it."
        raise InputError(f"--name {name!r} is not a name.", hint)
    return Path(root or ".") / RUNS / name


def is_version(folder: Path) -> bool:
    """Returns whether a folder is called like a run's, `version_N`."""
    return _VERSION.fullmatch(folder.name) is not None


def find_run_around(export: Path) -> Path | None:
    """Returns the run whose folder holds an export; `None` if it lies elsewhere."""
    run = export.resolve().parent
    return run if is_version(run) and (run / SETTINGS).is_file() else None


def list_versions(home: Path) -> list[Path]:
    """Returns the runs in the folder of one name, oldest first."""
    matches = [(int(match[1]), path) for path in home.glob("version_*") if (match := _VERSION.fullmatch(path.name))]
    return [path for _, path in sorted(matches)]


def create_version(home: Path) -> Path:
    """Makes the next version's folder. Two runs that start together get two folders.

    Raises:
        InputError: It cannot be made.
    """
    while True:
        versions = list_versions(home)
        number = int(versions[-1].name.removeprefix("version_")) + 1 if versions else 0
        path = home / f"version_{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(
                f"{path} cannot be made: {error.strerror}.", "Name another place: --trainer.default_root_dir DIR"
            ) from error
        return path


def read_origin(run: Path) -> str:
    """Returns the config file that a run began with; empty where it is not known."""
    try:
        with (run / SETTINGS).open(encoding="utf-8") as file:
            line = file.readline().rstrip("\n")
    except (OSError, UnicodeDecodeError):
        return ""
    return line.removeprefix(_ORIGIN) if line.startswith(_ORIGIN) else ""


def format_origin(config: str) -> str:
    """Returns the first line of a run's settings, which names the config file that it began with."""
    return f"{_ORIGIN}{config}\n" if config.isprintable() and config else ""


def remove_unstarted(run: Path) -> None:
    """Removes the folder of a run that never started, and our parent folders if empty. The caller holds its lock.

    Such a run has neither settings nor checkpoints. That of another process that prepares its data has none yet, too.
    """
    if (run / SETTINGS).exists() or any(run.rglob("*.ckpt")):
        return
    shutil.rmtree(run, ignore_errors=True)
    for folder in (run.parent, run.parent.parent):
        try:
            folder.rmdir()
        except OSError:
            return


@contextmanager
def hold_lock(run: Path) -> Iterator[None]:
    """Keeps a second process from training in the same folder.

    Raises:
        InputError: Another process does, or the folder cannot be written.
    """
    lock = FileLock(run / LOCK, timeout=_LOCK_TIMEOUT)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"{run} is being trained by another process.", "Wait for it, or leave --resume out to start another run."
        ) from error
    except OSError as error:
        raise InputError(
            f"{run} cannot be written: {error.strerror}.", "Name another place: --trainer.default_root_dir DIR"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_being_trained(run: Path) -> bool | None:
    """Returns whether a process holds the lock of a run; `None` where the file system has no locks that could tell.

    A fit that begins at this moment is not kept from its lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return _is_held(run / LOCK)
    try:
        handle = os.open(run / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # two who ask together do not see each other
    except BlockingIOError:
        return True
    except OSError:  # ENOLCK or ENOTSUP, of a network drive
        return None
    finally:
        os.close(handle)
    return False


def _is_held(path: Path) -> bool:
    lock = FileLock(path, timeout=0)
    try:
        if path.exists():
            lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False
