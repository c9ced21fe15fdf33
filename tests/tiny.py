"""Shared by the tests: a table of short consultations, a network of a few thousand weights, one finished run."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import random
import signal
from functools import cache
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from torch import Tensor

from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.cli.command import main
from lightning_med.data.module import DialogueDataModule
from lightning_med.training.module import DialogueLM

torch.set_num_threads(1)  # the tensors are too small for a second thread

_TEXT = (
    "my tongue is sore and red since monday the cough will not stop at night i feel tired after work a rash on the left"
    " arm itches drink warm tea rest your voice see a doctor if the fever stays take care of sleep and food"
)
WORDS = _TEXT.split()
SYSTEM = "You are a doctor."
LLAMA = {  # a network of Llama's kind, by the names that most families share
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 160,
}
GREEDY = {  # decoding that other code can repeat
    "max_new_tokens": 12,
    "temperature": 0.0,
    "no_repeat_ngram_size": 6,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
NETWORK = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 160, "resid_pdrop": 0.0, "embd_pdrop": 0.0}


def table(path: Path, rows: int = 60, seed: int = 0) -> Path:
    """Writes a CSV of consultations; all questions differ, and the answers vary in length."""
    rng = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["input", "output"])
        for row in range(rows):
            question = f"Case {row}: {' '.join(rng.choices(WORDS, k=rng.randint(3, 12)))}?"
            writer.writerow([question, f"{' '.join(rng.choices(WORDS, k=rng.randint(5, 15)))}.".capitalize()])
    return path


def data_settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """Returns settings of a `DialogueDataModule`; the table and the cache are in `folder`."""
    source = folder / "consultations.csv"
    if "source" not in changes and not source.exists():
        table(source)
    return {
        "source": str(source),
        "tokenizer": "train",
        "vocab_size": 300,
        "system_prompt": SYSTEM,
        "max_length": 128,
        "batch_tokens": 512,
        "test_fraction": 0.2,
        "val_fraction": 0.1,
        "cache_dir": str(folder / "cache"),
        **changes,
    }


def data_module(folder: Path, **changes: Any) -> DialogueDataModule:
    return DialogueDataModule(**data_settings(folder, **changes))


def language_model(**changes: Any) -> DialogueLM:
    return DialogueLM(**{"base": None, "from_scratch": NETWORK, "lr": 3e-3, **GREEDY, **changes})


def trainer(folder: Path, **changes: Any) -> L.Trainer:
    """Returns a trainer on the CPU in float32 that prints nothing and writes only what its callbacks write."""
    settings = {
        "accelerator": "cpu",
        "devices": 1,
        "precision": "32-true",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": any(
            isinstance(c, L.pytorch.callbacks.Checkpoint) for c in changes.get("callbacks", [])
        ),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "default_root_dir": folder,
        "plugins": [AtomicCheckpointIO()],
    }
    return L.Trainer(**{**settings, **changes})


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """Returns a copy of all weights."""
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def relative_l2(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Returns the L2 distance over all tensors, relative to the norm of the second ones."""
    assert ours.keys() == theirs.keys()
    distance = sum((ours[name].double() - theirs[name].double()).pow(2).sum() for name in ours)
    norm = sum(theirs[name].double().pow(2).sum() for name in ours)
    return float((distance / norm).sqrt())


def is_equal(ours: Any, theirs: Any) -> bool:
    """Returns whether two nested values are equal, their tensors to the bit."""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(is_equal(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(map(is_equal, ours, theirs))
    return bool(ours == theirs)


class Send(L.Callback):
    """Sends this process a signal, once, at the start of a step."""

    def __init__(self, name: str = "SIGTERM", step: int = 2) -> None:
        self.number, self.step, self.sent = signal.Signals[name], step, False

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step - 1 and not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.number)


# ------------------------------------------------------------------ the command


def settings(folder: Path, **trainer_changes: Any) -> dict[str, Any]:
    """Returns the content of a config file of a tiny fit."""
    return {
        "trainer": {
            "accelerator": "cpu",
            "precision": "32-true",
            "max_epochs": 2,
            "log_every_n_steps": 1,
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.LearningRateMonitor",
                    "init_args": {"logging_interval": "step"},
                }
            ],
            **trainer_changes,
        },
        "data": data_settings(folder),
        "model": {"base": None, "from_scratch": NETWORK, "lr": 3e-3, **GREEDY},
        "samples": {"questions": 2, "max_new_tokens": 6},
    }


def config(folder: Path, name: str = "tiny", **trainer_changes: Any) -> Path:
    """Writes a config file of a tiny fit."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings(folder, **trainer_changes)), encoding="utf-8")
    return path


def command(*argv: object, cwd: Path | None = None) -> tuple[int, str, str]:
    """Runs `lightning-med` in this process; returns its exit status, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd or Path.cwd()), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in argv])
    return status, out.getvalue(), err.getvalue()


@cache
def finished_run(folder: Path) -> Path:
    """Runs `fit` once a session and returns the folder of the run, for reading only."""
    folder.mkdir(parents=True, exist_ok=True)
    status, out, err = command("fit", "--config", config(folder), cwd=folder)
    assert status == 0, err
    assert "next: lightning-med export" in out
    return folder / "lightning_logs" / "tiny" / "version_0"


@cache
def finished_export(folder: Path) -> Path:
    """Exports the last checkpoint of `finished_run` and returns the folder."""
    run = finished_run(folder)
    output = folder / "export"
    status, _, err = command("export", "--checkpoint", run / "checkpoints" / "last.ckpt", "--output", output)
    assert status == 0, err
    return output
