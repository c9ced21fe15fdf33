"""Runs the programs in turns, each time in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from answering.jobs import Measurement
from lightning_med.utils.errors import RunError

WORKER = "--worker"  # the script runs itself with it
PREPARE, BANDWIDTH = "prepare", "bandwidth"  # what a worker does beside running a program

Say = Callable[[str], None]


@dataclass
class Runs:
    """What the rounds gave.

    Attributes:
        measurements: By program; a list of a measurement by number of streams for each round.
        peaks: By program, bytes in each round.
        bandwidths: Bytes a second in each round.
        skipped: By program, why there is no figure.
    """

    measurements: dict[str, list[list[Measurement]]] = field(default_factory=dict)
    peaks: dict[str, list[int]] = field(default_factory=dict)
    bandwidths: list[float] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, figures: dict[str, Any]) -> None:
        """Adds the figures of a program in one round."""
        if "skipped" in figures:
            self.skipped[key] = figures["skipped"]
            self.measurements.pop(key, None)
            return
        row = [Measurement(**one) for one in figures["measurements"]]
        self.measurements.setdefault(key, []).append(row)
        self.peaks.setdefault(key, []).append(figures["peak"])


def run_rounds(script: str, programs: list[str], job: Path, rounds: int, threads: int, say: Say) -> Runs:
    """Runs every program once in each round; every other round goes through them backwards.

    Args:
        script: That runs itself as a worker.
        programs: Keys of `PROGRAMS`.
        job: File of the job.
        rounds: How many.
        threads: Of each program.
        say: Is told how far it is.

    Raises:
        RunError: The memory could not be measured.
    """
    runs = Runs()
    for number in range(rounds):
        memory = run_worker(script, BANDWIDTH, job, threads)
        if "skipped" in memory:
            raise RunError(f"The bandwidth of the memory was not measured: {memory['skipped']}")
        runs.bandwidths.append(memory["bandwidth"])
        for key in programs if number % 2 == 0 else reversed(programs):
            if key in runs.skipped:
                continue
            start = time.monotonic()
            runs.add(key, run_worker(script, key, job, threads))
            if key in runs.skipped:
                say(f"{key}: skipped: {runs.skipped[key]}")
            else:
                speeds = ", ".join(f"{one.speed:,.1f} ({one.streams})" for one in runs.measurements[key][-1])
                seconds = time.monotonic() - start
                say(f"round {number + 1} of {rounds}, {key}: tokens/s (streams): {speeds}; {seconds:.0f} s in all")
    return runs


def run_worker(script: str, what: str, job: Path, threads: int) -> dict[str, Any]:
    """Runs the script as a worker in a new process and returns what it wrote; a failure reads as `skipped`.

    Args:
        script: The script.
        what: A program's key, `PREPARE` or `BANDWIDTH`.
        job: File of the job.
        threads: Of its pools.
    """
    result = job.with_name("result.json")
    result.unlink(missing_ok=True)
    # No GPU: both llama.cpp and torch are compared on the processor. Pools of OpenMP are as large in all processes.
    own = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads)}
    argv = [sys.executable, script, WORKER, what, str(job), str(result)]
    done = subprocess.run(argv, env={**os.environ, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode or not result.is_file():
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return {"skipped": f"it failed: {reason}"}
    content: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return content
