"""Results of `validate`, `test` and `predict`: where they are written, and how they are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning_med.checkpoints.checkpoint_files import find_run_folder
from lightning_med.utils.files import write_text

PREDICTIONS = "predictions.jsonl"  # of `predict`, in the run's folder


def find_output(settings: Any, name: str) -> Path:
    """Returns the file to write: `--output`, else `name` in the folder of the checkpoint's run."""
    return Path(settings.output) if settings.output else find_run_folder(settings.ckpt_path) / name


def write_results(path: Path, metrics: dict[str, float], checkpoint: str, fingerprint: str) -> None:
    """Writes metrics as JSON, in full precision, and prints them.

    Args:
        path: The file to write.
        metrics: By name.
        checkpoint: The file that was evaluated.
        fingerprint: Of the data.
    """
    content = {**metrics, "checkpoint": str(checkpoint), "data": fingerprint}
    write_text(path, json.dumps(content, indent=2) + "\n")
    for name, value in metrics.items():
        print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value:.4f}")
    print(f"results: {path}")
