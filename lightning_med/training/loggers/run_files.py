"""Loggers of a run: `metrics.csv` and TensorBoard's events, which a resumed run appends to."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from lightning_med.checkpoints.run_metrics import METRICS, read_rows
from lightning_med.training.patches.command import AppendingCSVLogger
from lightning_med.utils.files import write_atomically


def make_run_files(run: Path, step: int | None) -> list[Any]:
    """Returns the loggers that write into a run's folder.

    Args:
        run: The run's folder, `ROOT/lightning_logs/NAME/version_N`.
        step: Optimizer steps that a resumed run has done; later entries are removed, since those steps run again.
            `None` for a new run.
    """
    place: dict[str, Any] = {"save_dir": run.parent.parent, "name": run.parent.name, "version": run.name}
    if step is None:
        return [TensorBoardLogger(**place, default_hp_metric=False), AppendingCSVLogger(**place)]
    remove_later_rows(run / METRICS, step)
    return [TensorBoardLogger(**place, default_hp_metric=False, purge_step=step), AppendingCSVLogger(**place)]


def remove_later_rows(path: Path, step: int) -> None:
    """Removes the rows of `metrics.csv` at `step` and later, and a last line that is incomplete."""
    if not path.is_file():
        return
    reader = read_rows(path)
    header = next(reader, [])
    column = header.index("step") if "step" in header else None
    rows = [row for row in reader if len(row) == len(header) and column is not None and _is_before(row[column], step)]
    if not rows:
        path.unlink()
        return
    with write_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _is_before(cell: str, step: int) -> bool:
    return cell.isdigit() and int(cell) < step
