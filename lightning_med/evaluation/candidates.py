"""The models that are compared: their names, their digests, and the untuned base beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightning_med.checkpoints.run_folder import SETTINGS as CONFIG
from lightning_med.checkpoints.run_folder import is_version
from lightning_med.inference.model_folder import ModelFolder, open_model
from lightning_med.model.weight_files import compute_digest
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError

UNTUNED = "untuned"  # the name of the base among the baselines


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

    def describe(self) -> dict[str, Any]:
        """Returns what is known of where the model comes from, for the entry `about` of `metrics.json`."""
        known = ("base", "checkpoint", "checkpoint_digest", "step", "data_fingerprint", "lightning_med_version")
        settings = {name: self.model.settings[name] for name in known if name in self.model.settings}
        return {
            "folder": self.model.folder.name,
            "digest": self.digest,
            **self.model.compute_text_digests(),
            **settings,
        }


def open_candidates(folders: list[str], base: str | None) -> tuple[list[Candidate], str]:
    """Opens the models, the untuned base last where it is at hand.

    Args:
        folders: Of the models, at least one.
        base: Folder of the untuned base; default: the one that the first model's export or run names.

    Returns:
        The candidates, and why the base is not among them; empty if it is.

    Raises:
        InputError: A folder holds no model.
    """
    opened = [open_model(folder) for folder in folders]
    names = name_folders([model.folder for model in opened])
    found, reason = (base, "") if base else find_base(opened[0])
    if found:
        system = next((model.encoder.prompt.system for model in opened if model.settings), None)
        option = "--base" if base else f"the base of {names[0]},"
        opened.append(open_model(found, option=option, **({} if system is None else {"system_prompt": system})))
        names.append(UNTUNED)
    with show_progress("evaluate") as progress:
        digests = [compute_digest(model.folder, progress) for model in opened]
    return [Candidate(*each) for each in zip(names, opened, digests, strict=True)], reason


def name_folders(folders: Iterable[Path]) -> list[str]:
    """Returns a name for each folder: run and version of an export within a run, else the folder's; `-2` on a clash."""
    names: list[str] = []
    for folder in map(Path.resolve, folders):
        run = folder.parent
        name = f"{run.parent.name}/{run.name}" if is_version(run) and (run / CONFIG).is_file() else folder.name
        if name == UNTUNED:
            name = f"{name}-1"
        count = sum(other == name or other.rpartition("-")[0] == name for other in names)
        names.append(f"{name}-{count + 1}" if name in names else name)
    return names


def find_base(model: ModelFolder) -> tuple[str | None, str]:
    """Finds the untuned base of a model.

    Returns:
        Its folder or `None`, and then why there is none.
    """
    if not model.settings:
        return None, "untuned base: the model is no export, and names none; --base DIR does."
    name = model.settings.get("base")
    config = model.folder.resolve().parent / CONFIG
    if name is None and config.is_file():
        try:
            settings = yaml.safe_load(config.read_text(encoding="utf-8")).get("model") or {}
        except (OSError, yaml.YAMLError, AttributeError):
            settings = {}
        name = None if settings.get("from_scratch") else settings.get("base")
        if settings.get("from_scratch"):
            return None, "untuned base: there is none, the model was trained from random weights."
    if not name:
        return None, "untuned base: the export names none; --base DIR does."
    if (folder := _find_local(str(name))) is None:
        return None, f"untuned base: {name} is not on this machine; --base DIR names its folder."
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


def check_different(candidates: list[Candidate], output: Path) -> None:
    """Refuses an output folder that is one of the models'.

    Raises:
        InputError: It is.
    """
    for candidate in candidates:
        if output.resolve() == candidate.model.folder.resolve():
            raise InputError(f"--output {output} is the folder of a model.", "Name another folder.")
