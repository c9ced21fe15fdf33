"""kill -9 at random times, at the boundaries of epochs and during saves; the killed runs are resumed."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from faults import injection
from faults.configs import SETTINGS, write_config
from faults.fingerprints import compute_fingerprint
from faults.runs import Progress, Result, complete_fit, get_run_folder, start_fit
from lightning_med.checkpoints.newest_checkpoint import find_newest_whole


def check_resumption(folder: Path, count: int, rng: random.Random, progress: Progress) -> Iterator[Result]:
    """Kills `count` runs, resumes each once, and compares the final state with that of an uninterrupted run."""
    finished = 0
    for index, settings in enumerate(SETTINGS):
        share = count // len(SETTINGS) + (index < count % len(SETTINGS))
        config = write_config(folder, settings)
        start = time.monotonic()
        complete_fit(config, folder / config.stem / "uninterrupted")
        seconds = time.monotonic() - start
        expected = compute_fingerprint(get_run_folder(folder / config.stem / "uninterrupted"))
        held = 0
        for number in range(share):
            progress(f"kills, {settings}", finished, count)
            cwd = folder / config.stem / str(number)
            kill_fit(config, cwd, number, seconds, rng)
            resumed = start_fit(config, cwd, "--resume", "auto")
            held += resumed.wait() == 0 and compute_fingerprint(get_run_folder(cwd)) == expected
            finished += 1
            shutil.rmtree(cwd)
        if share:
            yield f"kill -9, {settings}: final weights, optimizer, steps equal", held, share


def kill_fit(config: Path, cwd: Path, number: int, seconds: float, rng: random.Random, *options: str) -> None:
    """Kills a fit: by its number at a random time, at the boundary of an epoch, or during a save.

    Args:
        config: Its config file.
        cwd: Its working folder.
        number: Of the attempt.
        seconds: That an uninterrupted fit takes.
        rng: Chooses time, epoch and stage.
        options: Further options of the command.
    """
    kind, inject = number % 3, None
    if kind == 1:
        inject = injection.kill_at_epoch(rng.randint(0, 2), rng.random() < 0.5)
    elif kind == 2:
        inject = injection.kill_in_save(rng.randint(1, 3), rng.choice(injection.STAGES))
    child = start_fit(config, cwd, *options, inject=inject)
    if kind == 0:
        time.sleep(rng.uniform(0.1, seconds))
        child.send_signal(signal.SIGKILL)
    if child.wait() not in (-signal.SIGKILL, 0):
        raise RuntimeError(f"The run failed before it was killed: {child.read_log()[-800:]}")


def check_saves(folder: Path, count: int, rng: random.Random, progress: Progress) -> Iterator[Result]:
    """Kills runs at every stage of a save and checks that each still has a complete checkpoint."""
    config = write_config(folder, SETTINGS[0])
    for stage in injection.STAGES:
        held, total = 0, count // len(injection.STAGES)
        for number in range(total):
            progress(f"kills during saves, {stage}", number, total)
            cwd = folder / "saves" / str(number)
            inject = injection.kill_in_save(rng.randint(2, 6), stage)
            status = start_fit(config, cwd, "--checkpoint_every", "2", inject=inject).wait()
            checkpoint = find_newest_whole(get_run_folder(cwd))
            held += status == -signal.SIGKILL and checkpoint is not None
            shutil.rmtree(cwd)
        yield f"kill -9 during a save, {stage}: a complete checkpoint is found", held, total
