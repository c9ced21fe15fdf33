"""Real runs of the command as child processes, forked from one that has imported everything already."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from lightning_med.checkpoints.reading import read_checkpoint
from lightning_med.cli.command import main

_TEXT = "tongue cough rash arm sleep fever drink rest warm tea sore red week night doctor pain better worse"
WORDS = _TEXT.split()
NETWORK = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 160, "resid_pdrop": 0.1, "embd_pdrop": 0.1}
Hook = Callable[[], None]


@dataclass
class Setting:
    """What a run is made with.

    Attributes:
        workers: Processes that build batches.
        accumulate: Batches a step.
        validation: Whether there is a validation split, looked at within each epoch, and sample answers.
    """

    workers: int = 0
    accumulate: int = 1
    validation: bool = True

    def __str__(self) -> str:
        validation = "validation" if self.validation else "no validation"
        return f"workers {self.workers}, accumulation {self.accumulate}, {validation}"


def table(path: Path, rows: int = 160) -> Path:
    """A CSV of synthetic consultations, all different."""
    source = random.Random(0)
    lines = ["input,output"]
    for row in range(rows):
        question, answer = (" ".join(source.choices(WORDS, k=source.randint(3, 14))) for _ in range(2))
        lines.append(f"Case {row}: {question}?,{answer.capitalize()}.")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def config(home: Path, setting: Setting) -> Path:
    """A config file of a tiny model over `table`, its cache under `home`."""
    source = home / "consultations.csv"
    if not source.exists():
        table(source)
    content = {
        "trainer": {
            "accelerator": "cpu",
            "precision": "32-true",
            "max_epochs": 3,
            "log_every_n_steps": 2,
            "accumulate_grad_batches": setting.accumulate,
            "val_check_interval": 0.5,
        },
        "data": {
            "source": str(source),
            "tokenizer": "train",
            "vocab_size": 300,
            "system_prompt": "You are a doctor.",
            "max_length": 128,
            "batch_tokens": 256,
            "num_workers": setting.workers,
            "test_fraction": 0.1,
            "val_fraction": 0.1 if setting.validation else 0.0,
            "cache_dir": str(home / "cache"),
        },
        "model": {"base": None, "from_scratch": NETWORK, "lr": 3e-3},
        "samples": {"questions": 1 if setting.validation else 0, "max_new_tokens": 4},
        "checkpoint": {"every_n_train_steps": 4},
    }
    name = f"fit-{setting.workers}-{setting.accumulate}-{int(setting.validation)}"
    path = home / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


class Child:
    """A forked process that runs the command; its words go to `log` in its folder."""

    def __init__(self, argv: list[str], place: Path, before: Hook | None = None) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.log = place / "log"
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(self._run(argv, place, before))
        self.code: int | None = None

    def _run(self, argv: list[str], place: Path, before: Hook | None) -> int:
        try:
            handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os.chdir(place)
            if before is not None:
                before()
            code = main(argv)
            sys.stdout.flush()
            return code
        except BaseException:
            traceback.print_exc()
            return 1

    def wait(self, limit: float = 120.0) -> int:
        """The exit status, negative after a signal; past the limit the child is killed, and that is an error."""
        end = time.monotonic() + limit
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                self.send(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"a run hung: {self.said()[-800:]}")
            else:
                time.sleep(0.005)
        return self.code

    def send(self, number: int) -> None:
        if self.code is None:
            os.kill(self.pid, number)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def fit(path: Path, place: Path, *options: str, before: Hook | None = None) -> Child:
    return Child(["fit", "--config", str(path), "--name", "torture", *options], place, before)


def run_of(place: Path) -> Path:
    return place / "lightning_logs" / "torture" / "version_0"


def fingerprint(run: Path) -> tuple[str, int]:
    """SHA-256 over the final weights and the optimizer's state, and the steps."""
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    digest = hashlib.sha256()
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        _add(digest, content[part])
    return digest.hexdigest(), int(content["global_step"])


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        digest.update(str((value.dtype, tuple(value.shape))).encode())
        digest.update(value.contiguous().numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            digest.update(str(key).encode())
            _add(digest, value[key])
    elif isinstance(value, (list, tuple)):
        for part in value:
            _add(digest, part)
    else:
        digest.update(json.dumps(value).encode())


def steps_done(run: Path) -> int:
    """Of the run's last checkpoint."""
    return int(read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"])
