"""A stranger's files: what lies in them must not run, whichever command is given them."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from faults.kills import SETTINGS, Row
from faults.runs import Child, config, fit, run_of
from lightning_med.cli.checkpoint_settings import EVALUATIONS


class _Payload:
    """Unpickled, it runs a shell command."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def strangers(home: Path, tell: Callable[[str, int, int], None]) -> Iterator[Row]:
    place = home / "canaries"
    path = config(home, SETTINGS[0])
    if fit(path, place, "--trainer.max_steps", "2").wait():
        raise RuntimeError("a run that nobody touched failed")
    good, mark = run_of(place) / "checkpoints" / "last.ckpt", place / "canary"
    for made, (kind, given) in enumerate(_checkpoints(place, good, mark).items()):
        tell("strangers' files", made, 4)
        asked = ["--ckpt_path", str(given)]
        calls = [[verb, "--config", str(path), *asked] for verb in ("fit", *EVALUATIONS)]
        calls += [[verb, *asked] for verb in EVALUATIONS]
        calls.append(["export", "--checkpoint", str(given), "--output", str(place / "out")])
        yield f"{kind} in a .ckpt: its canary never runs", _silent(calls, place, mark), len(calls)
    for kind, given in _configs(place, path, mark).items():
        calls = [[verb, "--config", str(given)] for verb in ("fit", "prepare")]
        calls += [[verb, "--config", str(given), "--ckpt_path", str(good)] for verb in EVALUATIONS]
        yield f"{kind} in a YAML: its canary never runs", _silent(calls, place, mark), len(calls)
    export = place / "export"
    if Child(["export", "--checkpoint", str(good), "--output", str(export)], place).wait():
        raise RuntimeError("an export that nobody touched failed")
    bait = export.with_name("bait")
    shutil.copytree(export, bait)
    for name in ("pytorch_model.bin", "training_args.bin", "adapter_model.bin", "optimizer.pt"):
        (bait / name).write_bytes(pickle.dumps(_Payload(mark)))
    bare = bait.with_name("bare")
    shutil.copytree(bait, bare)
    (bare / "model.safetensors").unlink()  # now only the pickle is left to load
    calls = [["respond", "--model", str(folder), "My tongue is sore."] for folder in (bait, bare)]
    calls.append(["fit", "--config", str(path), "--model.from_scratch", "null", "--model.base", str(bare)])
    yield "a .bin beside an export: its canary never runs", _silent(calls, place, mark), len(calls)


def _checkpoints(place: Path, good: Path, mark: Path) -> dict[str, Path]:
    """Pickles of several kinds, with and without a digest that fits."""
    from lightning_med.checkpoints import digests

    made = {"a pickle": place / "pickle.ckpt", "an archive with a pickle": place / "archive.ckpt"}
    made["an _instantiator"] = place / "instantiator.ckpt"
    made["a pickle"].write_bytes(pickle.dumps(_Payload(mark)))
    content = torch.load(good, weights_only=True)
    torch.save({**content, "bait": _Payload(mark)}, made["an archive with a pickle"])
    bait = {"_instantiator": "os.system", "_class_path": "os.system", "command": f"touch {mark}"}
    for key in ("hyper_parameters", "datamodule_hyper_parameters"):
        content[key] = {**content.get(key, {}), **bait}
    torch.save(content, made["an _instantiator"])
    for path in made.values():
        digests.write_digest(path, path)
    return made


def _configs(place: Path, path: Path, mark: Path) -> dict[str, Path]:
    """A class path to `os.system`, to a module that leaves its mark when imported, and to a callback that calls."""
    (place / "stranger.py").write_text(f"open({str(mark)!r}, 'w')\nfrom lightning import Callback as Mine\n")
    known = yaml.safe_load(path.read_text())
    callbacks: dict[str, Any] = {
        "os.system": {"class_path": "os.system", "init_args": {"command": f"touch {mark}"}},
        "a stranger's module": {"class_path": "stranger.Mine"},
        "a function's name": {
            "class_path": "lightning.pytorch.callbacks.LambdaCallback",
            "init_args": {"on_fit_start": "stranger.Mine"},
        },
    }
    made = {}
    for number, (kind, bait) in enumerate(callbacks.items()):
        content = {**known, "trainer": {**known["trainer"], "callbacks": [bait], "max_steps": 2}}
        made[kind] = place / f"stranger-{number}.yaml"
        made[kind].write_text(yaml.safe_dump(content))
    return made


def _silent(calls: list[list[str]], place: Path, mark: Path) -> int:
    """How many of the calls did not make the mark."""
    held = 0
    for call in calls:
        Child(call, place, before=lambda: __import__("sys").path.insert(0, str(place))).wait()
        held += not mark.exists()
        mark.unlink(missing_ok=True)
    return held
