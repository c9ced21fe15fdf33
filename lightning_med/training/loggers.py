"""The run's curves: a table and TensorBoard's events, which a resumed run appends to."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from lightning_med.utils.files import write_atomically

METRICS = "metrics.csv"


class MetricsTable(CSVLogger):
    """`metrics.csv`, appended to where it exists; Lightning's own deletes it."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _Appending(log_dir=self.log_dir)
        return self._experiment


class _Appending(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.metrics_keys = next(csv.reader(file), [])


def make_loggers(run: Path, step: int | None) -> list[Any]:
    """The loggers of a run's folder.

    Args:
        step: The optimizer steps that a resumed run has behind it; what was logged beyond them is done anew.
    """
    place: dict[str, Any] = {"save_dir": run.parent.parent, "name": run.parent.name, "version": run.name}
    if step is None:
        return [TensorBoardLogger(**place, default_hp_metric=False), MetricsTable(**place)]
    remove_later_rows(run / METRICS, step)
    return [TensorBoardLogger(**place, default_hp_metric=False, purge_step=step), MetricsTable(**place)]


def remove_later_rows(path: Path, step: int) -> None:
    """Removes the rows of `metrics.csv` that were logged beyond so many steps, and a last line that is half written."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        at = header.index("step") if "step" in header else None
        rows = [row for row in reader if len(row) == len(header) and at is not None and _is_before(row[at], step)]
    if not rows:
        path.unlink()
        return
    with write_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _is_before(cell: str, step: int) -> bool:
    return cell.isdigit() and int(cell) < step
