"""kill -9: at random times, at the epochs' boundaries, during saves; and what a resumed run ends with."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from faults import planted
from faults.runs import Setting, config, fingerprint, fit, run_of
from lightning_med.checkpoints import checkpoint_files

SETTINGS = [Setting(workers, accumulate, val) for workers in (0, 2) for accumulate in (1, 4) for val in (True, False)]
Row = tuple[str, int, int]  # what was done, how often it held, out of how many


def resumed(home: Path, count: int, source: random.Random, tell: Callable[[str, int, int], None]) -> Iterator[Row]:
    """Kills `count` runs, resumes each once, and compares its end with that of a run that was left alone."""
    done = 0
    for index, setting in enumerate(SETTINGS):
        share = count // len(SETTINGS) + (index < count % len(SETTINGS))
        path = config(home, setting)
        began = time.monotonic()
        alone = fit(path, home / path.stem / "alone")
        if alone.wait():
            raise RuntimeError(f"a run that nobody touched failed: {alone.said()[-800:]}")
        seconds, wanted = time.monotonic() - began, fingerprint(run_of(home / path.stem / "alone"))
        held = made = 0
        for number in range(share):
            tell(f"kills, {setting}", done, count)
            place = home / path.stem / str(number)
            _kill(path, place, number, seconds, source)
            again = fit(path, place, "--resume", "auto")
            held += again.wait() == 0 and fingerprint(run_of(place)) == wanted
            made, done = made + 1, done + 1
            shutil.rmtree(place)
        if made:
            yield f"kill -9, {setting}: final weights, optimizer, steps equal", held, made


def _kill(path: Path, place: Path, number: int, seconds: float, source: random.Random) -> None:
    """In turn: at a random time, at an epoch's boundary, during a save."""
    kind = number % 3
    if kind == 1:
        child = fit(path, place, before=planted.kill_at_epoch(source.randint(0, 2), source.random() < 0.5))
    elif kind == 2:
        child = fit(path, place, before=planted.kill_in_save(source.randint(1, 3), source.choice(planted.STAGES)))
    else:
        child = fit(path, place)
        time.sleep(source.uniform(0.1, seconds))
        child.send(signal.SIGKILL)
    if child.wait() not in (-signal.SIGKILL, 0):
        raise RuntimeError(f"the run ended otherwise: {child.said()[-800:]}")


def in_saves(home: Path, count: int, source: random.Random, tell: Callable[[str, int, int], None]) -> Iterator[Row]:
    """Kills during a save, at every stage of it, and looks whether a whole checkpoint is found."""
    path = config(home, SETTINGS[0])
    for stage in planted.STAGES:
        held, made = 0, count // len(planted.STAGES)
        for number in range(made):
            tell(f"kills in saves, {stage}", number, made)
            place = home / "saves" / str(number)
            before = planted.kill_in_save(source.randint(2, 6), stage)
            killed = fit(path, place, "--checkpoint_every", "2", before=before).wait()
            held += killed == -signal.SIGKILL and checkpoint_files.find_newest_whole(run_of(place)) is not None
            shutil.rmtree(place)
        yield f"kill -9 during a save, {stage}: a whole checkpoint is found", held, made
