"""A NaN loss: the run ends in that step, before a file contains it."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from faults import injection
from faults.configs import SETTINGS, write_config
from faults.runs import Progress, Result, get_run_folder, start_fit

_BATCH = 9  # whose loss becomes NaN


def check_nan_loss(folder: Path, progress: Progress) -> Iterator[Result]:
    """Makes the loss of one batch NaN, in a run of each kind of settings."""
    held = 0
    for number, settings in enumerate(SETTINGS):
        progress("NaN", number, len(SETTINGS))
        cwd = folder / "nan"
        child = start_fit(write_config(folder, settings), cwd, inject=injection.make_loss_nan(_BATCH))
        status = child.wait()
        message = rf"Step {-(-_BATCH // settings.accumulate)}: loss nan.*consultations.csv, rows \d+"
        named = re.search(message, child.read_log()) is not None
        held += status == 1 and named and _has_finite_files(get_run_folder(cwd))
        shutil.rmtree(cwd)
    yield "NaN in a batch: exit 1 in that step, its rows named, no NaN in any file", held, len(SETTINGS)


def _has_finite_files(run: Path) -> bool:
    """Whether all numbers in the checkpoints and the metrics of a run are finite."""
    for path in run.rglob("*.ckpt"):
        if not _is_finite(torch.load(path, weights_only=True)):
            return False
    metrics = run / "metrics.csv"
    if metrics.exists():
        with metrics.open(newline="") as file:
            for row in csv.DictReader(file):
                if not all(math.isfinite(float(value)) for value in row.values() if value):
                    return False
    return True


def _is_finite(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_finite, value))
    if isinstance(value, str) and value[:1] == "{":
        return "NaN" not in json.dumps(json.loads(value))
    return not isinstance(value, float) or math.isfinite(value)
