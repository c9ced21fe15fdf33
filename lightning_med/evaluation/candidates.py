"""The models that are compared: their names, their digests, and the untuned base beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from lightning_med.checkpoints import digests
from lightning_med.checkpoints.run_folder import SETTINGS as CONFIG
from lightning_med.checkpoints.run_folder import find_run_around
from lightning_med.evaluation.baselines.names import TITLES, UNTUNED
from lightning_med.inference.model_folder import ModelFolder, is_export, open_model
from lightning_med.model.weight_files import compute_digest, count_parameters
from lightning_med.tokenization.encoder import MIN_QUESTION
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError

_TAKEN = {*TITLES, "edges"}  # no names of models
_KNOWN = ("base", "checkpoint", "checkpoint_digest", "step", "data_fingerprint", "lightning_med_version")


@dataclass(frozen=True)
class Candidate:
    """A model that is measured.

    Attributes:
        name: In `metrics.json`.
        model: Its folder, opened.
        digest: SHA-256 of its weights.
    """

    name: str
    model: ModelFolder
    digest: str

    @cached_property
    def description(self) -> dict[str, Any]:
        """What is known of where the model comes from, for the entry `about` of `metrics.json`."""
        config = digests.compute_digest(self.model.folder / "config.json")
        own = {"digest": self.digest, "config": config, **self.model.compute_text_digests()}
        settings = {name: self.model.settings[name] for name in _KNOWN if name in self.model.settings}
        size = {"parameters": count_parameters(self.model.folder), "context": self.model.context}
        return {"folder": self.model.folder.name, **size, **own, **settings}


def open_candidates(folders: list[str], base: str | None) -> tuple[list[Candidate], str]:
    """Opens the models, the untuned base last where it is at hand.

    Foreign models and the base get the system prompt of the first export.

    Args:
        folders: Of the models, at least one.
        base: Folder of the untuned base; default: the one that the first model's export or run names.

    Returns:
        The candidates, and why the base is not among them; empty if it is.

    Raises:
        InputError: A folder holds no model.
    """
    options = ["--model", *["--compare"] * (len(folders) - 1)]
    exports = {folder: open_model(folder) for folder in folders if is_export(folder)}
    first = next(iter(exports.values()), None)
    prompts = {} if first is None else {"system_prompt": first.encoder.prompt.system}
    opened = [
        exports.get(folder) or open_model(folder, option=option, **prompts)
        for folder, option in zip(folders, options, strict=True)
    ]
    names = name_folders([model.folder for model in opened])
    found, reason = (base, "") if base else find_base(opened[0])
    if found:
        try:
            opened.append(open_model(found, option="--base", **prompts))
            names.append(UNTUNED)
        except InputError as error:
            if base:
                raise
            reason = f"Untuned base: {error.what} --base DIR names another folder."
    with show_progress("evaluate") as progress:
        weights = [compute_digest(model.folder, progress) for model in opened]
    return [Candidate(*each) for each in zip(names, opened, weights, strict=True)], reason


def name_folders(folders: Iterable[Path]) -> list[str]:
    """Returns a name for each folder: run and version of an export within a run, else the folder's; `-2` on a clash."""
    names: list[str] = []
    for folder in folders:
        run = find_run_around(folder)
        name = f"{run.parent.name}/{run.name}" if run is not None else folder.resolve().name
        number, unique = 1, name
        while unique in names or unique in _TAKEN:
            number += 1
            unique = f"{name}-{number}"
        names.append(unique)
    return names


def find_base(model: ModelFolder) -> tuple[str | None, str]:
    """Finds the untuned base of a model.

    Returns:
        Its folder or `None`, and then why there is none.
    """
    if not model.settings:
        return None, "Untuned base: the model is no export, and names none; --base DIR does."
    settings, config = model.settings, model.folder.resolve().parent / CONFIG
    if "base" not in settings and config.is_file():  # of an earlier release
        try:
            settings = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]
            settings = {"base": None if settings.get("from_scratch") else settings.get("base")}
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError):
            settings = {}
    if "base" not in settings:
        return None, "Untuned base: the export names none; --base DIR does."
    name = settings["base"]
    if name is None:
        return None, "Untuned base: there is none, the model was trained from random weights."
    if (folder := _find_local(str(name))) is None:
        return None, f"Untuned base: {name} is not on this machine; --base DIR names its folder."
    return str(folder), ""


def _find_local(name: str) -> Path | None:
    """Returns the folder of a base that needs no download; `None` where there is none."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return None
    return folder if any(folder.glob("*.safetensors")) else None


def check_candidates(candidates: list[Candidate], output: Path, max_length: int) -> None:
    """Refuses an output folder that is a model's, and a length that a model's prompt leaves no room in.

    Raises:
        InputError: Either is so.
    """
    for candidate in candidates:
        least = candidate.model.encoder.prompt_length + MIN_QUESTION + 8
        if output.resolve() == candidate.model.folder.resolve():
            raise InputError(f"--output {output} is the folder of a model.", "Name another folder.")
        if max_length < least:
            raise InputError(
                f"--max_length {max_length} leaves no room beside the prompt of {candidate.name}.",
                f"Give {least} or more.",
            )
