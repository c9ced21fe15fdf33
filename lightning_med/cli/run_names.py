"""The name of a run, and whether a run began with the config that is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning_med.checkpoints.run_folder import SETTINGS, clean_name, is_version, list_versions, read_origin
from lightning_med.utils.errors import InputError

_UNTOLD = (SETTINGS, "config.yml", "config.json")  # names of files that say nothing about what is in them
DEFAULT = "run"


def name_run(configs: Any) -> str:
    """Returns the name of a run whose call gives none, after its first config file.

    It is the name of the run that has saved the config; else the file's name without its ending, or its folder's where
    the file is called `config.yaml`. What is no good in a name becomes `-`. Without a config it is `run`.

    Args:
        configs: The values of `--config`, paths or what the parser makes of them.
    """
    path = _find_path(configs)
    if path is None:
        return DEFAULT
    if run := find_own_run(configs):
        name = run.parent.name
    else:
        name = path.parent.name if path.name in _UNTOLD or path.stem.startswith(".") else path.stem
    return clean_name(name) or DEFAULT


def find_own_run(configs: Any) -> Path | None:
    """Returns the run that has saved the first config file in its folder; `None` for another file."""
    path = _find_path(configs)
    return path.parent if path is not None and path.name == SETTINGS and is_version(path.parent) else None


def find_origin(configs: Any, root: str | Path | None) -> str:
    """Returns the first config file as a run remembers it: relative to the folder of all runs, so that they may move.

    Args:
        configs: The values of `--config`.
        root: `--trainer.default_root_dir`.
    """
    path = _find_path(configs)
    if path is None:
        return ""
    if (run := find_own_run(configs)) and (origin := read_origin(run)):
        return origin
    try:
        return Path(os.path.relpath(path, root or ".")).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def find_versions(home: Path, settings: Any, is_named: bool) -> list[Path]:
    """Returns the runs that `--resume auto` and `--ckpt_path last` choose from, oldest first.

    Args:
        home: The folder of all runs of the name.
        settings: Of the call.
        is_named: Whether the call names the run itself, so that its config need not be the run's.

    Raises:
        InputError: There are runs of the name, but all began with another config file.
    """
    run = find_own_run(settings.config)
    if run is not None and run.parent.resolve() == home.resolve():
        return [home / run.name]
    versions = list_versions(home)
    now = find_origin(settings.config, settings.trainer.default_root_dir)
    if not now or is_named or settings.get("resume_anyway"):
        return versions
    same = [run for run in versions if _is_same(read_origin(run), now)]
    if versions and not same:
        newest = versions[-1]
        raise InputError(
            f"The runs of the name {settings.name} began with --config {read_origin(newest)}, not with {now}.",
            f"Give those of this config a name: --name NAME; or take one of the others: --config {newest / SETTINGS}",
        )
    return same


def _is_same(before: str, now: str) -> bool:
    """Returns whether two origins are one config file, perhaps moved with its folder; an unknown one is any."""
    one, other = Path(before).parts[-2:], Path(now).parts[-2:]
    return before in ("", now) or (one == other and len(one) == 2 and ".." not in one)


def _find_path(configs: Any) -> Path | None:
    """Returns the first config's path; `None` where there is none, as for settings in the word itself."""
    for config in configs or []:
        if config is not None:
            path = config if isinstance(config, (str, Path)) else config.absolute  # the parser's kind of path
            return Path(os.path.abspath(path))
    return None
