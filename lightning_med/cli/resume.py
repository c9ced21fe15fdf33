"""Going on with a run: which one, from where, and whether anything is left to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning_med.checkpoints import checkpoint_files
from lightning_med.checkpoints.reading import KEY
from lightning_med.checkpoints.run_folder import list_versions
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError


def choose_run(home: Path, settings: Any) -> Path | None:
    """The run that a fit is to go on with, `None` for a new one; settles `resume`, `ckpt_path` and `checkpoint_every`.

    Args:
        home: Of all runs of the name.
        settings: Of the fit; `ckpt_path` becomes the newest whole checkpoint of the run.

    Raises:
        InputError: Two places are named, or something else than `auto`.
    """
    if settings.checkpoint_every is not None:
        settings.checkpoint.every_n_train_steps = settings.checkpoint_every
    if settings.ckpt_path == "last":
        settings.ckpt_path, settings.resume = None, "auto"
    if settings.resume not in (None, "auto"):
        raise InputError(f"--resume {settings.resume}: it takes auto and nothing else.", "A file: --ckpt_path FILE")
    if settings.resume is None or not (existing := list_versions(home)):
        return None
    if settings.ckpt_path:
        raise InputError("--resume auto and --ckpt_path both say where to go on.", "Give one of them.")
    found = checkpoint_files.find_newest_whole(existing[-1])
    say(f"resume: {found}" if found else f"resume: {existing[-1]} has no checkpoint yet, it starts.")
    settings.ckpt_path = str(found) if found else None
    return existing[-1]


def is_finished(content: dict[str, Any], settings: Any) -> bool:
    """Whether the run of a checkpoint has done all that it is asked for now.

    Raises:
        InputError: The checkpoint stands beyond the steps that are asked for, and no run of its own is to go on.
    """
    step, limit = int(content["global_step"]), settings.trainer.max_steps
    before = json.loads(content[KEY]["settings"]).get("trainer", {})
    same = all(before.get(name) == settings.trainer[name] for name in ("max_epochs", "max_steps"))
    if settings.resume and content[KEY].get("finished") and same:
        return True
    if 0 < limit <= step:
        raise InputError(
            f"The checkpoint stands at step {step}, max_steps is {limit}: nothing is left to do.",
            "To go on, give a larger --trainer.max_steps",
        )
    return False
