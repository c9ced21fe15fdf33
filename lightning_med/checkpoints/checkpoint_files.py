"""Checkpoint files of a run: their names, which are there, which is the newest whole one."""

from __future__ import annotations

import re
from pathlib import Path

from lightning_med.checkpoints import digests
from lightning_med.checkpoints.run_folder import list_versions
from lightning_med.utils.errors import InputError

CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"
_STEP = re.compile(r"step-(\d+)\.ckpt")


def find_last_checkpoint(folder: Path) -> Path:
    """`last.ckpt` of the newest run under one name that has one.

    Raises:
        InputError: There is none.
    """
    for run in reversed(list_versions(folder)):
        path = run / CHECKPOINTS / "last.ckpt"
        if path.is_file():
            return path
    raise InputError(
        f"--ckpt_path last: no run under {folder} has a checkpoint.", "Name a run by --name, or a file by --ckpt_path."
    )


def find_newest_whole(run: Path) -> Path | None:
    """The newest checkpoint of a run that is what was written; those that are not are named and left where they are.

    Where none has a digest, the newest that opens, as a run of an earlier version left it.
    """
    from lightning_med.checkpoints import digests
    from lightning_med.checkpoints.reading import read_checkpoint  # torch, which a run's name does not need
    from lightning_med.utils.console import say

    folder = run / CHECKPOINTS
    found = sorted(folder.glob("step-*.ckpt"), key=_step, reverse=True)
    unverified = []
    for path in [path for path in found if _step(path) >= 0] + [folder / "last.ckpt"]:
        if not path.exists():
            continue
        try:
            if not digests.verify_digest(path):
                unverified.append(path)
                continue
            read_checkpoint(path)
        except InputError as error:
            say(error.what)
        else:
            return path
    for path in unverified:
        try:
            read_checkpoint(path)
        except InputError as error:
            say(error.what)
        else:
            return path
    return None


def _step(path: Path) -> int:
    match = re.fullmatch(r"step-(\d+)", path.stem)
    return int(match[1]) if match else -1


def find_run_folder(path: str | Path) -> Path:
    """The run that a checkpoint belongs to, or the folder it lies in."""
    folder = Path(path).resolve().parent
    return folder.parent if folder.name == "checkpoints" else folder


def list_step_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, by step."""
    found = [(int(match[1]), path) for path in folder.glob("step-*.ckpt") if (match := _STEP.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed run had half written: temporary files, and digests of files that never came."""
    for path in (*folder.glob(".*.ckpt-*"), *folder.glob(f".*{digests.ENDING}-*")):
        path.unlink(missing_ok=True)
    for path in folder.glob(f"step-*{digests.ENDING}"):
        if not path.with_name(path.name.removesuffix(digests.ENDING)).exists():
            path.unlink(missing_ok=True)
