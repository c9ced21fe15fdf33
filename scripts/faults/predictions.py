"""kill -9 of `predict`: the same command goes on, and its file is the one of an uninterrupted one."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

from faults import loop_injection
from faults.configs import RunSettings, write_config
from faults.runs import Child, Injection, Progress, Result, complete_fit
from lightning_med.data.batching import loaders

_GROUP = 2  # questions answered side by side, so that there are several groups


def check_predictions(folder: Path, count: int, rng: random.Random, progress: Progress) -> Iterator[Result]:
    """Kills `count` predictions twice, completes them, and compares the bytes of their files."""
    config = write_config(folder, RunSettings(accumulate=4), "predicted", {"max_epochs": 1})
    cwd, held = folder / "predictions", 0
    complete_fit(config, cwd)
    expected = _predict(config, cwd, "uninterrupted", lambda: None)
    for number in range(count):
        progress("predict", number, count)
        name, is_killed = str(number), True
        for _ in range(2):
            inject = loop_injection.kill_in_append(rng.randint(1, 2), rng.random() < 0.5)
            is_killed &= _predict(config, cwd, name, inject, -signal.SIGKILL) is None
        held += is_killed and _predict(config, cwd, name, lambda: None) == expected
    yield "predict killed twice with -9: completed by the same command, the same bytes", held, count


def _predict(config: Path, cwd: Path, name: str, inject: Injection, code: int = 0) -> bytes | None:
    """Runs `predict`, and returns the file that it writes; `None` where there is none.

    Raises:
        RuntimeError: It ended otherwise than with the exit status `code`.
    """

    def group() -> None:
        loaders._QUESTIONS["cpu"] = _GROUP

    path = cwd / f"{name}.jsonl"
    argv = ["predict", "--config", str(config), "--name", "torture", "--ckpt_path", "last", "--output", str(path)]
    child = Child(argv, cwd, loop_injection.combine(group, inject))
    if child.wait() != code:
        raise RuntimeError(f"predict ended with {child.code}: {child.read_log()[-800:]}")
    return path.read_bytes() if path.exists() else None
