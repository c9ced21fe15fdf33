"""Results of `validate`, `test` and `predict`: where they are written, and how they are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning_med.checkpoints.checkpoint_files import find_run_folder
from lightning_med.safety.answers.unsafe_content import COUNTED, describe_counts
from lightning_med.training.callbacks.predictions import count_unsafe_predictions
from lightning_med.utils.console import show_progress
from lightning_med.utils.files import write_text

PREDICTIONS = "predictions.jsonl"  # of `predict`, in the run's folder
_COUNTS = ".safety.json"  # in the place of its suffix: counts of unsafe answers


def find_output(settings: Any, name: str) -> Path:
    """Returns the file to write: `--output`, else `name` in the folder of the checkpoint's run."""
    return Path(settings.output) if settings.output else find_run_folder(settings.ckpt_path) / name


def write_results(path: Path, metrics: dict[str, float], checkpoint: str, fingerprint: str, rows: str) -> None:
    """Writes metrics as JSON, in full precision, and prints them.

    Args:
        path: The file to write.
        metrics: By name.
        checkpoint: The file that was evaluated.
        fingerprint: Of the data.
        rows: A digest of the rows that were measured.
    """
    content = {**metrics, "checkpoint": str(checkpoint), "data": fingerprint, "rows": rows}
    write_text(path, json.dumps(content, indent=2) + "\n")
    for name, value in metrics.items():
        print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value:.4f}")
    print(f"results: {path}")


def write_safety_counts(predictions: Path) -> None:
    """Counts unsafe answers of a file of predictions, writes the counts as JSON beside it, and prints them."""
    with show_progress("counting") as progress:
        counts = count_unsafe_predictions(predictions, progress)
    write_text(predictions.with_suffix(_COUNTS), json.dumps(counts, indent=2) + "\n")
    guarded = ", ".join(f"{counts['guarded'][name]:,}" for name in COUNTED)
    print(
        f"safety: of {counts['answers']:,} answers as the model wrote them, {describe_counts(counts['raw'])};"
        f" after the guard {guarded}"
    )
