"""Checkpoint files of a run: their names, and which of them exist. Imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path

from lightning_med.checkpoints import digests
from lightning_med.checkpoints.run_folder import list_versions
from lightning_med.utils.errors import InputError

CHECKPOINTS = "checkpoints"  # the folder in a run's folder
LAST = "last.ckpt"
_STEP = re.compile(r"step-(\d+)\.ckpt")


def list_step_checkpoints(folder: Path) -> list[Path]:
    """Returns the files `step-N.ckpt` of a folder, sorted by N."""
    matches = [(int(match[1]), path) for path in folder.glob("step-*.ckpt") if (match := _STEP.fullmatch(path.name))]
    return [path for _, path in sorted(matches)]


def find_last_checkpoint(home: Path, runs: list[Path] | None = None) -> Path:
    """Returns `last.ckpt` of the newest run that has one.

    Args:
        home: The folder of all runs of one name.
        runs: Those of them to choose from, oldest first; default all.

    Raises:
        InputError: No run has one.
    """
    for run in reversed(list_versions(home) if runs is None else runs):
        path = run / CHECKPOINTS / LAST
        if path.is_file():
            return path
    raise InputError(
        f"--ckpt_path last: no run under {home} has a checkpoint.", "Name a run by --name, or a file by --ckpt_path."
    )


def find_best_checkpoint(run: Path) -> Path | None:
    """Returns the checkpoint of a run's best validation, else its last one; `None` where there is none."""
    folder = run / CHECKPOINTS
    try:
        return next((path for path in (*sorted(folder.glob("best*.ckpt")), folder / LAST) if path.is_file()), None)
    except PermissionError:  # the run is another user's
        return None


def find_run_folder(checkpoint: str | Path) -> Path:
    """Returns the run that a checkpoint belongs to, or the folder it lies in."""
    folder = Path(checkpoint).resolve().parent
    return folder.parent if folder.name == CHECKPOINTS else folder


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed run left incomplete: temporary files, and digests without their file."""
    for path in (*folder.glob(".*.ckpt-*"), *folder.glob(f".*{digests.ENDING}-*")):
        path.unlink(missing_ok=True)
    for path in folder.glob(f"step-*{digests.ENDING}"):
        if not path.with_name(path.name.removesuffix(digests.ENDING)).exists():
            path.unlink(missing_ok=True)
