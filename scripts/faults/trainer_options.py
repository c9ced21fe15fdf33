"""Resumption with options of the trainer, which decide where a fit ends, when it validates and what a step is."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faults import injection, loop_injection
from faults.configs import RunSettings, write_config
from faults.fingerprints import compute_fingerprint, read_end, read_validations
from faults.kills import kill_fit
from faults.runs import Injection, Progress, Result, complete_fit, get_run_folder, start_fit

FINISHED = "is finished: it was stopped early"


def _make_callback(name: str, **init_args: Any) -> dict[str, Any]:
    """Returns a callback of Lightning, as a config file names it."""
    return {"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": init_args}


# No validation is ever the better by so much, so that the first is the best and the end is known.
STOPPING = {"callbacks": [_make_callback("EarlyStopping", monitor="val/perplexity", min_delta=1e6)], "max_epochs": 9}
OPTIMIZER = ("--optimizer", "torch.optim.SGD", "--optimizer.lr", "0.1", "--optimizer.momentum", "0.9")
PLATEAU = ("--lr_scheduler", "ReduceLROnPlateau", "--lr_scheduler.monitor", "val/loss", "--lr_scheduler.patience", "0")

# Of each fit that is killed anywhere: its name, the options of the trainer, those of the command.
KILLED: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("limit_train_batches 5, accumulation 2", {"limit_train_batches": 5, "accumulate_grad_batches": 2}, ()),
    (
        "GradientAccumulationScheduler {0: 4, 1: 2, 2: 1}",
        {"callbacks": [_make_callback("GradientAccumulationScheduler", scheduling={0: 4, 1: 2, 2: 1})]},
        (),
    ),
    ("overfit_batches 3", {"overfit_batches": 3, "val_check_interval": 1.0, "max_epochs": 6}, ()),
    ("EMAWeightAveraging", {"callbacks": [_make_callback("EMAWeightAveraging", decay=0.8)]}, ()),
    ("WeightAveraging", {"callbacks": [_make_callback("WeightAveraging")]}, ()),
    ("ModelCheckpoint", {"callbacks": [_make_callback("ModelCheckpoint", monitor="val/perplexity")]}, ()),
    ("SGD and StepLR by name", {}, (*OPTIMIZER, "--lr_scheduler", "StepLR", "--lr_scheduler.step_size", "1")),
    ("SGD and ReduceLROnPlateau by name", {"val_check_interval": 1.0}, (*OPTIMIZER, *PLATEAU)),
    ("max_steps, a validation in each second epoch", {"max_steps": 20, "check_val_every_n_epoch": 2}, ()),
    ("bf16-true, gradients clipped by value", {"precision": "bf16-true", "gradient_clip_algorithm": "value"}, ()),
]


class Comparison:
    """Fits of one config, all of which must end like the first, which is not interrupted.

    Args:
        folder: Of the configs.
        name: Of the config and of the folder of its runs.
        trainer: Options of the trainer.
        options: Of the command.
    """

    def __init__(self, folder: Path, name: str, trainer: dict[str, Any], options: tuple[str, ...] = ()) -> None:
        trainer = {"accumulate_grad_batches": 1, "limit_train_batches": 8, **trainer}
        self.folder, self.options = folder / name, options
        self.config = write_config(folder, RunSettings(), name, trainer)
        start = time.monotonic()
        complete_fit(self.config, self.folder / "uninterrupted", *options)
        self.seconds = time.monotonic() - start
        self.expected = self._describe_run(self.folder / "uninterrupted")

    @staticmethod
    def _describe_run(cwd: Path) -> tuple[Any, ...]:
        run = get_run_folder(cwd)
        return compute_fingerprint(run), read_end(run), read_validations(run)

    def interrupt(self, number: int, inject: Injection, code: int, *options: str) -> Path:
        """Starts a fit that a fault interrupts, and returns its working folder.

        Raises:
            RuntimeError: It ended otherwise than with the exit status `code`.
        """
        cwd = self.folder / str(number)
        child = start_fit(self.config, cwd, *self.options, *options, inject=inject)
        if child.wait() != code:
            raise RuntimeError(f"A run that is to be interrupted ended with {child.code}: {child.read_log()[-800:]}")
        return cwd

    def resume(self, cwd: Path, says: str = "") -> bool:
        """Resumes a fit, and returns whether it says this and ends like the uninterrupted one; removes its folder."""
        child = start_fit(self.config, cwd, *self.options, "--resume", "auto")
        held = child.wait() == 0 and says in child.read_log() and self._describe_run(cwd) == self.expected
        shutil.rmtree(cwd)
        return held


def check_trainer_options(folder: Path, count: int, rng: random.Random, progress: Progress) -> Iterator[Result]:
    """Interrupts `count` fits of each kind, resumes them, and compares their ends."""
    yield from _check_ends(folder, count, progress)
    yield from _check_validations(folder, count, rng, progress)
    yield from _check_time(folder, count, rng, progress)
    for index, (what, trainer, options) in enumerate(KILLED):
        runs, held = Comparison(folder, f"killed-{index}", trainer, options), 0
        for number in range(count):
            progress(f"kills, {what}", number, count)
            cwd = runs.folder / str(number)
            kill_fit(runs.config, cwd, number if count > 1 else index, runs.seconds, rng, *options)
            held += runs.resume(cwd)
        yield f"kill -9, {what}: same final state", held, count


def _check_ends(folder: Path, count: int, progress: Progress) -> Iterator[Result]:
    """Interrupts fits with early stopping where an epoch, or the fit itself, ends."""
    runs = Comparison(folder, "stopped", {**STOPPING, "val_check_interval": 1.0})
    within = {**STOPPING, "val_check_interval": 3, "accumulate_grad_batches": 2}
    both = (runs, Comparison(folder, "stopped-within", within))
    killed = ended = signalled = 0
    for number in range(count):
        progress("early stopping", number, count)
        epoch, last = number % 3, 3
        kills = (loop_injection.kill_at_epoch_end(epoch), injection.kill_at_epoch(epoch, after=True))
        killed += runs.resume(runs.interrupt(number, kills[number // 3 % 2], -signal.SIGKILL))
        kills = (loop_injection.kill_after_stop(), loop_injection.kill_at_fit_end())
        for each in both:
            ended += each.resume(each.interrupt(number, kills[number % 2], -signal.SIGKILL), FINISHED)
        inject = loop_injection.signal_in_last_step(last - number % 4, signal.SIGTERM)
        signalled += runs.resume(runs.interrupt(number, inject, 128 + signal.SIGTERM))
    yield "kill -9 at an epoch's end, early stopping: same final state", killed, count
    yield "kill -9 after an early stop: the run is finished, nothing is trained", ended, 2 * count
    yield "SIGTERM in an epoch's last step, early stopping: saved, exit 143, same final state", signalled, count


def _check_validations(folder: Path, count: int, rng: random.Random, progress: Progress) -> Iterator[Result]:
    """Kills fits directly after a validation."""
    for interval, every in ((0.5, 1), (3, 1), (7, None)):
        counted = "" if every else ", counted across epochs"
        what = f"val_check_interval {interval}{counted}, accumulation 4"
        trainer = {"val_check_interval": interval, "check_val_every_n_epoch": every, "accumulate_grad_batches": 4}
        runs, held = Comparison(folder, f"validated-{interval}", {**trainer, "limit_train_batches": 18}), 0
        for number in range(count):
            progress(f"validations, {what}", number, count)
            inject = loop_injection.kill_after_validation(rng.randint(1, 5))
            often = ("--checkpoint_every", "1") if number % 2 == 0 else ()  # else the step need not be saved
            held += runs.resume(runs.interrupt(number, inject, -signal.SIGKILL, *often))
        yield f"kill -9 after a validation, {what}: same final state", held, count


def _check_time(folder: Path, count: int, rng: random.Random, progress: Progress) -> Iterator[Result]:
    """Lets fits run out of their time, again and again; then also kills each second command."""
    stopping = _make_callback("EarlyStopping", monitor="val/perplexity", min_delta=1e6, patience=4)
    trainer = {"max_time": "00:01:00:00", "callbacks": [stopping], "accumulate_grad_batches": 2}
    runs = Comparison(folder, "timed", {**trainer, "limit_train_batches": 9})
    for fault in ("", ", kill -9 in between"):
        held = 0
        for number in range(count):
            cwd, end, commands = runs.folder / str(number), "", 0
            while not end and commands < 20:
                progress(f"max_time{fault}", number, count)
                injections = [loop_injection.count_time_in_batches(600.0)]  # out of time after 6 batches
                if fault and commands % 2:
                    injections.append(injection.kill_in_save(1, rng.choice(injection.STAGES)))
                child = start_fit(runs.config, cwd, "--resume", "auto", inject=loop_injection.combine(*injections))
                if child.wait() not in (0, -signal.SIGKILL):
                    break
                end, commands = read_end(get_run_folder(cwd)), commands + 1
            held += commands > 2 and runs.resume(cwd)
        yield f"out of max_time again and again, early stopping{fault}: same final state", held, count
