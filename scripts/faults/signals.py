"""Signals at random times: the state is saved, and a resumed run ends like an uninterrupted one."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from faults import injection, loop_injection
from faults.configs import SETTINGS, write_config
from faults.fingerprints import compute_fingerprint, read_steps
from faults.runs import Progress, Result, complete_fit, get_run_folder, start_fit
from lightning_med.checkpoints.checkpoint_files import CHECKPOINTS, list_step_checkpoints

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 138, signal.SIGHUP: 129}
_READS = 3  # of the checkpoint, when a run is resumed: to find it, to check its settings, to restore it


def check_signals(folder: Path, count: int, rng: random.Random, progress: Progress) -> Iterator[Result]:
    """Sends each signal to `count` runs while they train."""
    config = write_config(folder, SETTINGS[0])
    start = time.monotonic()
    complete_fit(config, folder / "signals" / "uninterrupted")
    seconds = time.monotonic() - start
    expected = compute_fingerprint(get_run_folder(folder / "signals" / "uninterrupted"))
    for number, code in EXIT_CODES.items():
        name = signal.Signals(number).name
        held = total = 0
        while total < count:
            progress(name, total, count)
            cwd = folder / "signals" / str(total)
            step_file = cwd / "signal-step"
            child = start_fit(config, cwd, inject=injection.record_signal_step(step_file))
            time.sleep(rng.uniform(0, seconds))
            child.send_signal(number)
            status = child.wait()
            run = get_run_folder(cwd)
            if status == 0 or not (step_file.exists() and run.exists()):  # it came before or after the training
                shutil.rmtree(cwd)
                continue
            within_a_step = read_steps(run) - int(step_file.read_text()) <= 1
            resumed = start_fit(config, cwd, "--resume", "auto")
            equal = resumed.wait() == 0 and compute_fingerprint(run) == expected
            held += status == code and within_a_step and equal
            total += 1
            shutil.rmtree(cwd)
        yield f"{name} at a random time: saved within a step, exit {code}, same final state after resuming", held, total


def check_signals_in_loads(folder: Path, count: int, rng: random.Random, progress: Progress) -> Iterator[Result]:
    """Sends signals to `count` commands that resume a run, while they read its checkpoint."""
    config, home = write_config(folder, SETTINGS[2]), folder / "loads"
    complete_fit(config, home / "uninterrupted")
    expected, held = compute_fingerprint(get_run_folder(home / "uninterrupted")), 0
    start_fit(config, home / "begun", inject=loop_injection.kill_at_epoch_end(1)).wait()
    codes = {**EXIT_CODES, signal.SIGINT: 130}
    for total in range(count):
        progress("signals while a checkpoint is read", total, count)
        cwd, (number, code) = home / str(total), rng.choice(list(codes.items()))
        shutil.copytree(home / "begun", cwd)
        inject = loop_injection.signal_in_load(total % _READS + 1, number)
        status = start_fit(config, cwd, "--resume", "auto", inject=inject).wait()
        newest = list_step_checkpoints(get_run_folder(cwd) / CHECKPOINTS)[-1].name
        resumed = start_fit(config, cwd, "--resume", "auto")
        equal = resumed.wait() == 0 and compute_fingerprint(get_run_folder(cwd)) == expected
        held += status == code and equal and resumed.read_log().rpartition("resume: ")[2].split()[0].endswith(newest)
        shutil.rmtree(cwd)
    yield "a signal while a checkpoint is read: exit 128 + n, the newest checkpoint is resumed", held, count
