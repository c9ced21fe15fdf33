"""Signals and numbers that are none: the run ends in order, and says why."""

from __future__ import annotations

import csv
import json
import math
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from faults import planted
from faults.kills import SETTINGS, Row
from faults.runs import config, fingerprint, fit, run_of, steps_done

CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 138}


def signals(home: Path, count: int, source: random.Random, tell: Callable[[str, int, int], None]) -> Iterator[Row]:
    """Each at random times of the training: saved within a step, the right exit status, the same end."""
    path = config(home, SETTINGS[0])
    began = time.monotonic()
    alone = fit(path, home / "signals" / "alone")
    if alone.wait():
        raise RuntimeError(alone.said()[-800:])
    seconds, wanted = time.monotonic() - began, fingerprint(run_of(home / "signals" / "alone"))
    for number, code in CODES.items():
        held = made = 0
        while made < count:
            tell(signal.Signals(number).name, made, count)
            place = home / "signals" / str(made)
            noted = place / "noted"
            child = fit(path, place, before=planted.note_signal(noted))
            time.sleep(source.uniform(0, seconds))
            child.send(number)
            ended = child.wait()
            trained = noted.exists() and run_of(place).exists()
            if ended == 0 or not trained:  # it came before the training or after it: that is another test
                shutil.rmtree(place)
                continue
            within = steps_done(run_of(place)) - int(noted.read_text()) <= 1
            again = fit(path, place, "--resume", "auto")
            equal = again.wait() == 0 and fingerprint(run_of(place)) == wanted
            held += ended == code and within and equal
            made += 1
            shutil.rmtree(place)
        name = signal.Signals(number).name
        yield f"{name} at a random time: saved within a step, exit {code}, resumed to the same end", held, made


def not_a_number(home: Path, tell: Callable[[str, int, int], None]) -> Iterator[Row]:
    held = 0
    for made, setting in enumerate(SETTINGS):
        tell("NaN", made, len(SETTINGS))
        place = home / "nan"
        child = fit(config(home, setting), place, before=planted.nan_in_batch(9))
        step = -(-9 // setting.accumulate)
        ended, wanted = child.wait(), rf"Step {step}: loss nan.*consultations.csv, rows \d+"
        held += ended == 1 and re.search(wanted, child.said()) is not None and _finite(run_of(place))
        shutil.rmtree(place)
    yield "NaN in a batch: exit 1 in that step, its rows named, no NaN in any file", held, len(SETTINGS)


def _finite(run: Path) -> bool:
    """Whether no file of a run holds a number that is none."""
    for path in run.rglob("*.ckpt"):
        if not _all_finite(torch.load(path, weights_only=True)):
            return False
    table = run / "metrics.csv"
    if table.exists():
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                if not all(math.isfinite(float(value)) for value in row.values() if value):
                    return False
    return True


def _all_finite(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    if isinstance(value, dict):
        return all(map(_all_finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_all_finite, value))
    if isinstance(value, str) and value[:1] == "{":
        return "NaN" not in json.dumps(json.loads(value))
    return not isinstance(value, float) or math.isfinite(value)
