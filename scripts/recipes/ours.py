"""Our recipe: the command `lightning-med fit`, in this process, with a clock."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.callbacks import Callback

from lightning_med.checkpoints.run_folder import list_versions
from lightning_med.cli import trainer_command
from lightning_med.cli.lightning_cli import MedCLI
from lightning_med.utils.errors import RunError
from recipes.clock import ProcessorClock, TokenCount, choose_validations
from recipes.plans import PRECISION, Task

NAME = "ours"


class FitRun(L.Callback):
    """Runs the clock, and notes validations and what was seen.

    Args:
        clock: Is paused from a validation's start to the next step, so that saving the checkpoint does not count.
    """

    def __init__(self, clock: ProcessorClock) -> None:
        self.clock, self.seen = clock, TokenCount()
        self.validations: list[dict[str, float]] = []

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.clock.run()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.clock.count_step()
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.seen.add_batch(data.store("train"), batch["rows"])

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.clock.pause()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        perplexity = float(trainer.callback_metrics["val/perplexity"])
        self.validations.append({"step": trainer.global_step, "perplexity": perplexity})

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.clock.pause()


def time_ours(task: Task, clock: ProcessorClock, steps: int) -> None:
    """Runs some steps on a clock, without validation, and keeps nothing of them."""
    with tempfile.TemporaryDirectory() as folder:
        _fit(task, FitRun(clock), steps, Path(folder), {"limit_val_batches": 0})


def train_ours(task: Task, clock: ProcessorClock, steps: int, name: str) -> tuple[FitRun, Path]:
    """Trains, and returns what was noted, and the folder of the run.

    Args:
        task: What to train.
        clock: A new one.
        steps: Of the run; warm-up and decay are planned over them.
        name: Of the run.
    """
    run, root = FitRun(clock), task.folder / "fit"
    every = {"val_check_interval": steps // choose_validations(steps), "check_val_every_n_epoch": None}
    _fit(task, run, steps, root, every, name)
    return run, list_versions(root / "lightning_logs" / name)[-1]


def _fit(task: Task, run: FitRun, steps: int, root: Path, trainer: dict[str, Any], name: str = NAME) -> None:
    """Runs `fit` with one callback more than its settings name, which `config.yaml` therefore does not repeat."""

    class TimedCLI(MedCLI):
        def choose_callbacks(self, configured: list[Callback]) -> list[Callback]:
            return [*super().choose_callbacks(configured), run]

    limits = {"max_epochs": -1, "max_steps": steps, "precision": PRECISION, "accelerator": "cpu", "logger": None}
    config = {
        "seed_everything": task.seed,
        "trainer": {**limits, "enable_progress_bar": False, "default_root_dir": str(root), **trainer},
        "data": task.data_settings,
        "model": task.model_settings,
        "samples": {"questions": 0},
        "checkpoint": {"keep": 1},
    }
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    command, trainer_command.MedCLI = trainer_command.MedCLI, TimedCLI  # type: ignore[misc]
    try:
        if trainer_command.main(["fit", "--config", str(path), "--name", name]):
            raise RunError(f"The fit {name} failed.", "Its messages are above.")
    finally:
        trainer_command.MedCLI = command  # type: ignore[misc]
