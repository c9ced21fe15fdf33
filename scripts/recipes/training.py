"""One run: calibration, training within the budget, export, and the file that says what was done."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lightning_med.data.module import DialogueDataModule
from lightning_med.export.checkpoint_export import export_checkpoint
from lightning_med.model.causal_lm import compute_nll
from lightning_med.model.execution import choose_execution
from lightning_med.model.perplexity import AnswerLikelihood
from lightning_med.model.weight_files import load_weights
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text
from recipes.clock import ProcessorClock, TokenCount, choose_steps, find_steps
from recipes.notebook import SETTINGS, export_notebook, train_notebook
from recipes.ours import time_ours, train_ours
from recipes.plans import LENGTH, NOTEBOOK, OURS, PRECISION, RUN, Task


def train(task: Task, recipe: str) -> None:
    """Trains by a recipe and writes the export with `run.json`; what a run that was cut short left is removed.

    Raises:
        InputError: The notebook's run, whose tokens this one is to see, is not finished.
    """
    folder = task.get_export(recipe)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(task.folder / "fit" / "lightning_logs" / recipe, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    data = task.open_data()
    result = _train_notebook(task, data, folder) if recipe == NOTEBOOK else _train_ours(task, data, recipe, folder)
    content = {
        "model": task.name,
        "recipe": recipe,
        "seed": task.seed,
        **result,
        "val_perplexity": measure_validation(folder, data),
        "precision": PRECISION,
        "budget_seconds": task.seconds,
        "torch": torch.__version__,
    }
    write_text(folder / RUN, json.dumps(content, indent=2) + "\n")


def read_run(task: Task, recipe: str) -> dict[str, Any] | None:
    """Returns `run.json` of a finished run; `None` where there is none."""
    path = task.get_export(recipe) / RUN
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _train_notebook(task: Task, data: DialogueDataModule, folder: Path) -> dict[str, Any]:
    trial, clock = _start_clock(), _start_clock()
    train_notebook(task, data, trial, task.plan.calibration, validate=False)
    steps = choose_steps(task.seconds, trial.measure_step())
    network, validations, seen = train_notebook(task, data, clock, steps, validate=True)
    export_notebook(network, task, data, _find_best(validations), folder)
    settings = {**SETTINGS, "padded_to": LENGTH, "loss": "all tokens but the end token, which is the padding token"}
    return _describe(clock, trial, seen, validations, settings)


def _train_ours(task: Task, data: DialogueDataModule, recipe: str, folder: Path) -> dict[str, Any]:
    trial, clock = _start_clock(), _start_clock()
    if recipe == OURS:
        time_ours(task, trial, task.plan.calibration)
        steps = choose_steps(task.seconds, trial.measure_step())
    else:
        notebook = read_run(task, NOTEBOOK)
        if notebook is None:
            raise InputError(f"{task.get_export(NOTEBOOK)} is not finished.", "It says how many tokens to train on.")
        steps = find_steps(data, notebook["useful_tokens"])
    run, run_folder = train_ours(task, clock, steps, recipe)
    (best,) = (run_folder / "checkpoints").glob("best-*.ckpt")
    export_checkpoint(best, folder)
    result = _describe(clock, trial, run.seen, run.validations, task.model_settings)
    return {**result, "run": str(run_folder.relative_to(task.folder))}


def _start_clock() -> ProcessorClock:
    return ProcessorClock(torch.get_num_threads())


def _describe(
    clock: ProcessorClock,
    trial: ProcessorClock,
    seen: TokenCount,
    validations: list[dict[str, float]],
    settings: dict[str, Any],
) -> dict[str, Any]:
    tokens = {name if name == "rows" else f"{name}_tokens": value for name, value in asdict(seen).items()}
    return {
        "steps": clock.steps,
        "exported_step": _find_best(validations),
        **tokens,
        "seconds": clock.seconds,
        "processor_seconds": clock.seconds * clock.threads,
        "wall_seconds": clock.wall,
        "threads": clock.threads,
        "calibrated_step_seconds": trial.measure_step() if trial.steps else None,
        "step_seconds": clock.seconds / clock.steps,
        "validations": validations,
        "settings": settings,
    }


def _find_best(validations: list[dict[str, float]]) -> int:
    """The step of the best validation; the first one where several are as good, as both recipes keep it."""
    return int(min(validations, key=lambda one: one["perplexity"])["step"])


@torch.inference_mode()
def measure_validation(folder: Path, data: DialogueDataModule) -> float:
    """Returns the perplexity of the validation split's answers, in float32, the same way for each export."""
    network = load_weights(folder, str(folder), dtype=torch.float32).eval()
    choose_execution(network, data.longest)
    likelihood = AnswerLikelihood()
    for batch in data.val_dataloader():
        likelihood.update(compute_nll(network, batch)[1], batch["answer_bytes"])
    return likelihood.compute()["perplexity"]
