"""Resuming a run: which one, from which checkpoint, and whether anything is left to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning_med.checkpoints.newest_checkpoint import find_newest_whole
from lightning_med.checkpoints.reading import KEY
from lightning_med.cli.run_names import find_versions
from lightning_med.cli.trainer_options import make_list
from lightning_med.training.fit_loop.fit_end import EARLY
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError


def choose_run(home: Path, settings: Any, is_named: bool) -> Path | None:
    """Returns the run that a fit resumes, or `None` for a new one.

    Settles `resume`, `ckpt_path` (the run's newest complete checkpoint) and `checkpoint_every` in the settings.

    Args:
        home: The folder of all runs of this name.
        settings: Of the fit; changed in place.
        is_named: Whether the call names the run itself.

    Raises:
        InputError: Two places to resume from are named, `--resume` is something else than `auto`, or the runs of the
            name began with another config.
    """
    if settings.checkpoint_every is not None:
        settings.checkpoint.every_n_train_steps = settings.checkpoint_every
    if settings.ckpt_path == "last":
        settings.ckpt_path, settings.resume = None, "auto"
    if settings.resume not in (None, "auto"):
        raise InputError(f"--resume {settings.resume}: it takes auto and nothing else.", "A file: --ckpt_path FILE")
    if settings.resume is None or not (versions := find_versions(home, settings, is_named)):
        return None
    if settings.ckpt_path:
        raise InputError("--resume auto and --ckpt_path both say where to continue.", "Give one of them.")
    run = versions[-1]
    checkpoint = find_newest_whole(run)
    say(f"resume: {checkpoint}" if checkpoint else f"resume: {run} has no checkpoint yet, it starts.")
    settings.ckpt_path = str(checkpoint) if checkpoint else None
    return run


def is_finished(content: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Returns whether the run of a checkpoint has done everything it is asked for now.

    Args:
        content: Of the checkpoint.
        settings: Of the fit, as plain values.

    Raises:
        InputError: The checkpoint is past the steps or epochs that are asked for, and its run was to do others.
    """
    card, trainer = content[KEY], settings["trainer"]
    before = json.loads(card["settings"]).get("trainer", {})
    if settings["resume"] and card.get("finished") == EARLY:
        return _list_stops(before) == _list_stops(trainer)  # with another patience it may go on
    step, epochs = int(content["global_step"]), int(card.get("epochs", 0))
    done = [
        (name, f"step {step}" if name == "max_steps" else f"the end of epoch {epochs}")
        for name, count in (("max_steps", step), ("max_epochs", epochs))
        if 0 < (trainer[name] or 0) <= count
    ]
    if not done:
        return False
    if settings["resume"] and all(before.get(name) == trainer[name] for name in ("max_epochs", "max_steps")):
        return True
    name, place = done[0]
    raise InputError(
        f"The checkpoint stands at {place}, {name} is {trainer[name]}: nothing is left to do.",
        f"To go on, give a larger --trainer.{name}",
    )


def _list_stops(trainer: dict[str, Any]) -> list[Any]:
    """Returns the settings of early stopping among those of a trainer's callbacks."""
    callbacks = make_list(trainer.get("callbacks"))
    return [one for one in callbacks if isinstance(one, dict) and one.get("class_path", "").endswith("EarlyStopping")]
