"""Results of the verbs that run a trainer: where they are written, how they are printed, and what `--json` says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning import Trainer

from lightning_med.checkpoints.checkpoint_files import CHECKPOINTS, LAST, find_best_checkpoint, find_run_folder
from lightning_med.cli.output.json_output import make_plain
from lightning_med.data.preparation.pipeline import Prepared
from lightning_med.safety.answers.unsafe_content import COUNTED, describe_counts
from lightning_med.training.callbacks.predictions import count_unsafe_predictions
from lightning_med.utils.console import show_progress
from lightning_med.utils.files import write_text

PREDICTIONS = "predictions.jsonl"  # of `predict`, in the run's folder
_COUNTS = ".safety.json"  # in the place of its suffix: counts of unsafe answers


def find_output(settings: Any, name: str) -> Path:
    """Returns the file to write: `--output`, else `name` in the folder of the checkpoint's run."""
    return Path(settings.output) if settings.output else find_run_folder(settings.ckpt_path) / name


def write_results(
    path: Path, metrics: dict[str, float], checkpoint: str, fingerprint: str, rows: str
) -> dict[str, Any]:
    """Writes metrics as JSON, in full precision, null where one is not finite, and prints them.

    Args:
        path: The file to write.
        metrics: By name.
        checkpoint: The file that was evaluated.
        fingerprint: Of the data.
        rows: A digest of the rows that were measured.

    Returns:
        What `--json` prints.
    """
    content = {**metrics, "checkpoint": str(checkpoint), "data": fingerprint, "rows": rows}
    write_text(path, json.dumps(make_plain(content), indent=2, allow_nan=False) + "\n")
    for name, value in metrics.items():
        print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value:.4f}")
    print(f"results: {path}")
    return {"results": path, "checkpoint": str(checkpoint), "data": fingerprint, "metrics": metrics}


def write_safety_counts(predictions: Path) -> dict[str, Any]:
    """Counts unsafe answers of a file of predictions, writes the counts as JSON beside it, prints and returns them."""
    with show_progress("counting") as progress:
        counts = count_unsafe_predictions(predictions, progress)
    write_text(predictions.with_suffix(_COUNTS), json.dumps(counts, indent=2) + "\n")
    guarded = ", ".join(f"{counts['guarded'][name]:,}" for name in COUNTED)
    print(
        f"safety: of {counts['answers']:,} answers as the model wrote them, {describe_counts(counts['raw'])};"
        f" after the guard {guarded}"
    )
    return counts


def describe_fit(run: Path, trainer: Trainer, steps_before: int) -> dict[str, Any]:
    """Returns what `--json` prints of a fit.

    Args:
        run: Its folder.
        trainer: With the metrics of the last validation; none where the run was finished before.
        steps_before: Optimizer steps of the checkpoint that it was resumed from.
    """
    return {
        "run": run,
        "checkpoint": find_best_checkpoint(run),
        "last": next(iter((run / CHECKPOINTS).glob(LAST)), None),
        "steps": max(trainer.global_step, steps_before),  # the trainer of a finished run has done none
        "metrics": {name: float(value) for name, value in sorted(trainer.callback_metrics.items())},
    }


def describe_prepared(report: Path, prepared: Prepared) -> dict[str, Any]:
    """Returns what `--json` prints of prepared data.

    Args:
        report: The page.
        prepared: The data.
    """
    rows = prepared.report["splits"]
    return {"report": report, "data": prepared.fingerprint, "cache": prepared.folder, "rows": rows}
