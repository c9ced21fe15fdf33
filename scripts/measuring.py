"""What the benchmarks share: a corpus, a process of its own with its memory watched, the machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_med.utils.errors import InputError

if TYPE_CHECKING:  # of the extra `bench`: imported where it is used, so that a script can say that it is missing
    import psutil

_LOOK = 0.1  # seconds between two looks at the memory
_REST = 50  # but no less than so many times what a look took: it walks all pages, and the cores are not ours to spend


def apart(name: str, command: Sequence[object]) -> tuple[dict[str, Any], int]:
    """Runs Python in a process of its own, without a network.

    Args:
        name: For the message where it fails.
        command: The script and its options.

    Returns:
        What it printed last, read as JSON; and the highest sum of PSS over it and its children, looked at up to
        ten times a second until it ended, or until `watched_until` where it told such a time.

    Raises:
        InputError: It failed; the message holds what it said last.
    """
    import psutil

    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        child = psutil.Popen(
            [sys.executable, *map(str, command)], stdout=out, stderr=errors, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
        try:
            seen = []
            while child.poll() is None:
                looked = time.time()
                seen.append((looked, _memory(child)))
                time.sleep(max(_LOOK, _REST * (time.time() - looked)))
        finally:
            if child.poll() is None:
                child.kill()
        out.seek(0)
        errors.seek(0)
        if child.returncode:
            raise InputError(f"{name} failed:\n{errors.read()[-2000:].strip()}")
        found = json.loads(out.read().splitlines()[-1])
    until = found.get("watched_until", float("inf"))
    return found, max((memory for when, memory in seen if when <= until), default=0)


def _memory(process: psutil.Process) -> int:
    import psutil

    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass  # it ended while we looked
    return total


def machine(names: Sequence[str]) -> dict[str, Any]:
    """What the figures were measured on.

    Args:
        names: Packages whose versions matter; those that are missing are left out.
    """
    import psutil

    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.is_file() else []
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    return {
        "cpu": cpu or platform.machine(),
        "cores": len(psutil.Process().cpu_affinity() or []),
        "memory": memory,
        "python": platform.python_version(),
        **{name: found for name in names if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def corpus(
    data: str | None, rows: int, tokenizer: str, folder: Path, tell: Callable[[str, int, int], None]
) -> tuple[str, int]:
    """A CSV of consultations in `folder`: the first rows of `data`, or synthetic ones (scripts/make_corpus.py).

    Returns:
        Its path and how many rows it has.

    Raises:
        InputError: `data` is no such table, or the corpus was not made.
    """
    path = folder / "corpus.csv"
    tell("making the corpus", 0, 0)
    if data is None:
        script = Path(__file__).with_name("make_corpus.py")
        options = ["--rows", str(rows), "--output", str(path), "--truth", str(folder / "truth.jsonl")]
        made = subprocess.run(
            [sys.executable, script, *options, "--tokenizer", tokenizer], capture_output=True, text=True
        )
        if made.returncode:
            raise InputError(f"the corpus was not made:\n{made.stderr[-2000:].strip()}")
        return str(path), rows
    import pandas as pd

    try:
        frame = pd.read_csv(data, nrows=rows, usecols=["input", "output"])
    except (ValueError, OSError) as error:
        raise InputError(f"--data {data}: {error}", "A CSV with columns input and output is wanted.") from error
    frame.to_csv(path, index=False)
    return str(path), len(frame)
