"""Config files of tiny runs on a synthetic table."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_TEXT = "tongue cough rash arm sleep fever drink rest warm tea sore red week night doctor pain better worse"
WORDS = _TEXT.split()
NETWORK = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 160, "resid_pdrop": 0.1, "embd_pdrop": 0.1}


@dataclass
class RunSettings:
    """The settings in which the runs differ.

    Attributes:
        workers: Data loader processes.
        accumulate: Batches in an optimizer step.
        validation: Whether there is a validation split, evaluated twice in each epoch, with sample answers.
    """

    workers: int = 0
    accumulate: int = 1
    validation: bool = True

    def __str__(self) -> str:
        validation = "validation" if self.validation else "no validation"
        return f"workers {self.workers}, accumulation {self.accumulate}, {validation}"


SETTINGS = [
    RunSettings(workers, accumulate, validation)
    for workers in (0, 2)
    for accumulate in (1, 4)
    for validation in (True, False)
]


def write_table(path: Path, rows: int = 160) -> Path:
    """Writes a CSV of synthetic consultations, no two alike."""
    rng = random.Random(0)
    lines = ["input,output"]
    for row in range(rows):
        question, answer = (" ".join(rng.choices(WORDS, k=rng.randint(3, 14))) for _ in range(2))
        lines.append(f"Case {row}: {question}?,{answer.capitalize()}.")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_config(
    folder: Path, settings: RunSettings, name: str | None = None, trainer: dict[str, Any] | None = None
) -> Path:
    """Writes the config file of a tiny run; the table and the cache of prepared data are in the same folder.

    Args:
        folder: Where it is written.
        settings: In which the runs differ.
        name: Of the file, without its ending; default one of the settings.
        trainer: Further options of the trainer, or others than the usual ones.
    """
    table = folder / "consultations.csv"
    if not table.exists():
        write_table(table)
    content = {
        "trainer": {
            "accelerator": "cpu",
            "precision": "32-true",
            "max_epochs": 3,
            "log_every_n_steps": 2,
            "accumulate_grad_batches": settings.accumulate,
            "val_check_interval": 0.5,
            **(trainer or {}),
        },
        "data": {
            "source": str(table),
            "tokenizer": "train",
            "vocab_size": 300,
            "system_prompt": "You are a doctor.",
            "max_length": 128,
            "batch_tokens": 256,
            "num_workers": settings.workers,
            "test_fraction": 0.1,
            "val_fraction": 0.1 if settings.validation else 0.0,
            "cache_dir": str(folder / "cache"),
        },
        "model": {"base": None, "from_scratch": NETWORK, "lr": 3e-3},
        "samples": {"questions": 1 if settings.validation else 0, "max_new_tokens": 4},
        "checkpoint": {"every_n_train_steps": 4},
    }
    name = name or f"fit-{settings.workers}-{settings.accumulate}-{int(settings.validation)}"
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path
