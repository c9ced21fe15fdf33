"""Shared by the benchmarks: a corpus, a child process whose memory is sampled, a description of the machine."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_med.utils.errors import InputError

if TYPE_CHECKING:  # of the extra `bench`; imported where it is used, so that a script can say that it is missing
    import psutil

_INTERVAL = 0.1  # seconds between two samples of the memory
_PAUSE = 50  # at least this many times the duration of a sample, as sampling walks all pages and costs CPU time


@dataclass
class MemorySamples:
    """The sum of PSS over a process and its children, sampled up to ten times a second.

    Attributes:
        times: Unix times.
        sizes: In bytes.
    """

    times: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def find_peak(self, start: float = 0.0, end: float = math.inf) -> int:
        """Returns the largest sample of a time span, or the last before its end where none lies in it; in bytes."""
        before = [size for time_, size in zip(self.times, self.sizes, strict=True) if time_ <= end]
        inside = [size for time_, size in zip(self.times, self.sizes, strict=True) if start <= time_ <= end]
        return max(inside or before[-1:], default=0)


def run_measured(name: str, command: Sequence[object]) -> tuple[dict[str, Any], MemorySamples]:
    """Runs a Python script in a child process, without network access to the Hub, and samples its memory.

    Args:
        name: Named in the error message.
        command: The script and its options.

    Returns:
        The last line of its output, parsed as JSON, and samples of its memory.

    Raises:
        InputError: The script failed; the message holds the end of its standard error.
    """
    import psutil

    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        child = psutil.Popen(
            [sys.executable, *map(str, command)], stdout=out, stderr=errors, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
        samples = MemorySamples()
        try:
            while child.poll() is None:
                start = time.time()
                samples.sizes.append(_read_memory(child))
                samples.times.append(start)
                time.sleep(max(_INTERVAL, _PAUSE * (time.time() - start)))
        finally:
            if child.poll() is None:
                child.kill()
        out.seek(0)
        errors.seek(0)
        if child.returncode:
            raise InputError(f"{name} failed:\n{errors.read()[-2000:].strip()}")
        return json.loads(out.read().splitlines()[-1]), samples


def _read_memory(process: psutil.Process) -> int:
    import psutil

    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass  # a process ended while it was sampled
    return total


def describe_machine(packages: Sequence[str]) -> dict[str, Any]:
    """Returns CPU, cores, memory, and the versions of Python and of the given packages that are installed."""
    import psutil

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    return {
        "cpu": cpu or platform.machine(),
        "cores": len(psutil.Process().cpu_affinity() or []),
        "memory": memory,
        "python": platform.python_version(),
        **{name: installed for name in packages if (installed := _find_version(name))},
    }


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_corpus(
    data: str | None, rows: int, tokenizer: str, folder: Path, progress: Callable[[str, int, int], None]
) -> tuple[str, int]:
    """Writes a CSV of consultations into a folder: the first rows of a table, or synthetic ones.

    Args:
        data: A CSV with columns input and output; `None` for a synthetic corpus (scripts/make_corpus.py).
        rows: Maximal number of rows.
        tokenizer: Folder of GPT-2's tokenizer, for a synthetic corpus.
        folder: Folder of the CSV.
        progress: Shows the progress; see `show_progress`.

    Returns:
        Path of the CSV and its number of rows.

    Raises:
        InputError: `data` is not such a table, or the synthetic corpus could not be made.
    """
    path = folder / "corpus.csv"
    progress("making the corpus", 0, 0)
    if data is None:
        script = Path(__file__).with_name("make_corpus.py")
        options = ["--rows", str(rows), "--output", str(path), "--truth", str(folder / "truth.jsonl")]
        process = subprocess.run(
            [sys.executable, script, *options, "--tokenizer", tokenizer], capture_output=True, text=True
        )
        if process.returncode:
            raise InputError(f"The synthetic corpus could not be made:\n{process.stderr[-2000:].strip()}")
        return str(path), rows
    import pandas as pd

    try:
        frame = pd.read_csv(data, nrows=rows, usecols=["input", "output"])
    except (ValueError, OSError) as error:
        raise InputError(f"--data {data}: {error}", "Give a CSV with columns input and output.") from error
    frame.to_csv(path, index=False)
    return str(path), len(frame)
