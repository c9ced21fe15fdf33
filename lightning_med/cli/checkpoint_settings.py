"""The settings that a checkpoint carries, for a command that names no config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from lightning_med.checkpoints import checkpoint_files
from lightning_med.checkpoints.reading import read_card, read_checkpoint
from lightning_med.checkpoints.run_folder import get_runs_folder
from lightning_med.utils.errors import InputError

EVALUATIONS = ("validate", "test", "predict")


def add_checkpoint_settings(argv: list[str], folder: Path) -> list[str]:
    """Adds the checkpoint's own settings as the config of an evaluation that names none.

    Args:
        argv: The verb and its options.
        folder: Where the config may be written; it is needed until the command ends.
    """
    if argv[0] not in EVALUATIONS or _find_option(argv, "--config") or _find_option(argv, "-c"):
        return argv
    path, name = _find_option(argv, "--ckpt_path"), _find_option(argv, "--name")
    if path == "last" and name:
        home = get_runs_folder(_find_option(argv, "--trainer.default_root_dir"), name)
        path = str(checkpoint_files.find_last_checkpoint(home))
    if not path or path == "last":
        return argv
    settings = folder / "config.yaml"
    settings.write_text(
        yaml.safe_dump(_keep_plain_settings(read_card(read_checkpoint(path))["settings"])), encoding="utf-8"
    )
    return [argv[0], "--config", str(settings), *argv[1:]]


def names_other_data(card: dict[str, Any], data: dict[str, Any], options: list[str]) -> bool:
    """Whether an evaluation names another source than the checkpoint's, and no fractions of its own.

    Args:
        card: Of the checkpoint.
        data: The evaluation's settings of the data.
        options: The words of the command line after the verb.
    """
    saved, fractions = card["settings"].get("data", {}), ("test_fraction", "val_fraction")
    given = any(_find_option(options, f"--data.{name}") for name in fractions)
    return data["source"] != saved.get("source") and not given and all(data[f] == saved.get(f) for f in fractions)


def inherits_tables(card: dict[str, Any], data: dict[str, Any], options: list[str]) -> bool:
    """Whether an evaluation of another source than the checkpoint's has its `check_against` from the checkpoint.

    Args:
        card, data, options: See `names_other_data`.
    """
    saved, name = card["settings"].get("data", {}), "check_against"
    given = _find_option(options, f"--data.{name}")
    return data["source"] != saved.get("source") and data.get(name) == saved.get(name) and not given


def _keep_plain_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns a checkpoint's settings without classes and paths: untrusted text must neither run nor write."""
    trainer = {key: settings.get("trainer", {}).get(key) for key in ("precision", "accelerator")}
    data = {key: value for key, value in settings.get("data", {}).items() if key != "cache_dir"}
    kept = {"seed_everything": settings.get("seed_everything", 42), "model": settings.get("model", {}), "data": data}
    kept["trainer"] = {key: value for key, value in trainer.items() if isinstance(value, (str, int))}
    if "class_path" in json.dumps(kept):
        raise InputError(
            "The checkpoint's settings name a class to be loaded: they are not used.",
            "Give settings that you trust: --config RUN/config.yaml",
        )
    return kept


def _find_option(argv: list[str], name: str) -> str | None:
    """Returns an option's value, given as `--name value` or `--name=value`; `None` if it is not given."""
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        if word == name or word.startswith(f"{name}="):
            return word.partition("=")[2] or following
    return None
