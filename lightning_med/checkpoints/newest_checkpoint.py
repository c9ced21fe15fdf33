"""The newest checkpoint of a run that is complete."""

from __future__ import annotations

from pathlib import Path

from lightning_med.checkpoints import digests
from lightning_med.checkpoints.checkpoint_files import CHECKPOINTS, LAST, list_step_checkpoints
from lightning_med.checkpoints.reading import read_checkpoint
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError


def find_newest_whole(run: Path) -> Path | None:
    """Returns the newest checkpoint of a run that is complete; damaged ones are named and left where they are.

    Files whose digest fits come first. Where there are none, files without a digest count, as earlier versions wrote
    them, if they can be opened.
    """
    unverified = []
    candidates = [*reversed(list_step_checkpoints(run / CHECKPOINTS)), run / CHECKPOINTS / LAST]
    for path in filter(Path.exists, candidates):
        try:
            if digests.verify_digest(path):
                read_checkpoint(path)
                return path
            unverified.append(path)
        except InputError as error:
            say(error.what)
    for path in unverified:
        try:
            read_checkpoint(path)
        except InputError as error:
            say(error.what)
        else:
            return path
    return None
