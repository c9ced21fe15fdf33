"""Untrusted files: code in them must not run, whichever command reads them.

Each file carries code that would create a marker file; a call holds if the marker does not exist afterwards.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from faults.configs import SETTINGS, write_config
from faults.runs import Child, Progress, Result, complete_fit, get_run_folder
from lightning_med.checkpoints import digests
from lightning_med.cli.checkpoint_settings import EVALUATIONS

_PICKLES = ("pytorch_model.bin", "training_args.bin", "adapter_model.bin", "optimizer.pt")


class _Payload:
    """Creates the marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def check_untrusted_files(folder: Path, progress: Progress) -> Iterator[Result]:
    """Gives untrusted checkpoints, config files and models to every command that reads such files."""
    cwd = folder / "untrusted"
    config = write_config(folder, SETTINGS[0])
    complete_fit(config, cwd, "--trainer.max_steps", "2")
    trusted, marker = get_run_folder(cwd) / "checkpoints" / "last.ckpt", cwd / "marker"
    for number, (kind, path) in enumerate(_write_checkpoints(cwd, trusted, marker).items()):
        progress("untrusted files", number, 4)
        option = ["--ckpt_path", str(path)]
        calls = [[verb, "--config", str(config), *option] for verb in ("fit", *EVALUATIONS)]
        calls += [[verb, *option] for verb in EVALUATIONS]
        calls.append(["export", "--checkpoint", str(path), "--output", str(cwd / "out")])
        yield f"{kind} in a .ckpt: its code never runs", _count_safe_calls(calls, cwd, marker), len(calls)
    for kind, path in _write_configs(cwd, config, marker).items():
        calls = [[verb, "--config", str(path)] for verb in ("fit", "prepare")]
        calls += [[verb, "--config", str(path), "--ckpt_path", str(trusted)] for verb in EVALUATIONS]
        yield f"{kind} in a YAML: its code never runs", _count_safe_calls(calls, cwd, marker), len(calls)
    models = _write_models(cwd, trusted, marker)
    calls = [["respond", "--model", str(model), "My tongue is sore."] for model in models]
    calls.append(["fit", "--config", str(config), "--model.from_scratch", "null", "--model.base", str(models[-1])])
    yield "a .bin beside an export: its code never runs", _count_safe_calls(calls, cwd, marker), len(calls)


def _write_checkpoints(cwd: Path, trusted: Path, marker: Path) -> dict[str, Path]:
    """Writes checkpoints with several kinds of pickles, each with a digest that matches; returns them by kind."""
    paths = {"a pickle": cwd / "pickle.ckpt", "an archive with a pickle": cwd / "archive.ckpt"}
    paths["an _instantiator"] = cwd / "instantiator.ckpt"
    paths["a pickle"].write_bytes(pickle.dumps(_Payload(marker)))
    content = torch.load(trusted, weights_only=True)
    torch.save({**content, "payload": _Payload(marker)}, paths["an archive with a pickle"])
    call = {"_instantiator": "os.system", "_class_path": "os.system", "command": f"touch {marker}"}
    for key in ("hyper_parameters", "datamodule_hyper_parameters"):
        content[key] = {**content.get(key, {}), **call}
    torch.save(content, paths["an _instantiator"])
    for path in paths.values():
        digests.write_digest(path, path)
    return paths


def _write_configs(cwd: Path, config: Path, marker: Path) -> dict[str, Path]:
    """Writes config files that name `os.system`, a module with code at its top level, and a function of it."""
    (cwd / "untrusted.py").write_text(f"open({str(marker)!r}, 'w')\nfrom lightning import Callback as Mine\n")
    content = yaml.safe_load(config.read_text())
    callbacks: dict[str, Any] = {
        "os.system": {"class_path": "os.system", "init_args": {"command": f"touch {marker}"}},
        "an unknown module": {"class_path": "untrusted.Mine"},
        "a function's name": {
            "class_path": "lightning.pytorch.callbacks.LambdaCallback",
            "init_args": {"on_fit_start": "untrusted.Mine"},
        },
    }
    paths = {}
    for number, (kind, callback) in enumerate(callbacks.items()):
        trainer = {**content["trainer"], "callbacks": [callback], "max_steps": 2}
        paths[kind] = cwd / f"untrusted-{number}.yaml"
        paths[kind].write_text(yaml.safe_dump({**content, "trainer": trainer}))
    return paths


def _write_models(cwd: Path, trusted: Path, marker: Path) -> list[Path]:
    """Writes an exported model with pickles beside its weights, and one with pickles instead of its weights."""
    export = cwd / "export"
    if Child(["export", "--checkpoint", str(trusted), "--output", str(export)], cwd).wait():
        raise RuntimeError("An export without a fault failed.")
    beside, instead = cwd / "pickles-beside", cwd / "pickles-instead"
    shutil.copytree(export, beside)
    for name in _PICKLES:
        (beside / name).write_bytes(pickle.dumps(_Payload(marker)))
    shutil.copytree(beside, instead)
    (instead / "model.safetensors").unlink()
    return [beside, instead]


def _count_safe_calls(calls: list[list[str]], cwd: Path, marker: Path) -> int:
    """Runs the commands with `cwd` on the import path, and counts those after which there is no marker."""
    safe = 0
    for call in calls:
        Child(call, cwd, inject=lambda: sys.path.insert(0, str(cwd))).wait()
        safe += not marker.exists()
        marker.unlink(missing_ok=True)
    return safe
