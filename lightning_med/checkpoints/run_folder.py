"""A run's folder: `ROOT/lightning_logs/NAME/version_N`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lightning_med.utils.errors import InputError

SETTINGS = "config.yaml"  # the run's settings, in its folder
_LOCK_TIMEOUT = 10.0  # seconds; loader processes of a killed run notice it within some, and hold its lock until then
_NAME = re.compile(r"[\w][\w.-]*")
_VERSION = re.compile(r"version_(\d+)")


def get_runs_folder(root: str | Path | None, name: str) -> Path:
    """Returns the folder of all runs of one name.

    Raises:
        InputError: The name could lead out of the folder.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"--name {name!r} is not a name.", "Letters, digits, '.', '_' and '-', no folder in it.")
    return Path(root or ".") / "lightning_logs" / name


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


def remove_unstarted(run: Path) -> None:
    """Removes the folder of a run that never started, which has no settings, and our parent folders if empty."""
    if (run / SETTINGS).exists():
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
    lock = FileLock(run / ".lock", timeout=_LOCK_TIMEOUT)
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
