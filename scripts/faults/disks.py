"""Disks that are full or cannot be written: the run ends with one line, and what was saved before loads."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.kills import SETTINGS, Row
from faults.runs import config, fit, run_of
from lightning_med.checkpoints import checkpoint_files, digests, writing


def full(home: Path, tell: Callable[[str, int, int], None]) -> Iterator[Row]:
    path = config(home, SETTINGS[0])
    for number, (checked, what) in enumerate(((True, "free space is checked"), (False, "the write itself fails"))):
        tell("full disk", number, 2)
        with _tmpfs(home / "disk", "64M") as place:
            mounted = place is not None
            place = place or home / "disk"
            first = fit(path, place, "--checkpoint_every", "4", "--trainer.max_steps", "8").wait()
            before = run_of(place) / "checkpoints" / "step-8.ckpt"
            if mounted:
                _fill(place, leave=12 << 20 if checked else 100 << 10)
            plant = None if checked and mounted else _without_check if mounted else _injected
            again = fit(path, place, "--resume", "auto", before=plant)
            code, said = again.wait(), again.said()
            line = [line for line in said.splitlines() if line.startswith("lightning-med: ")]
            held = (
                first == 0
                and code == 1
                and "Traceback" not in said
                and bool(line)
                and "MiB" in line[0]
                and digests.verify_digest(before)
                and checkpoint_files.find_newest_whole(run_of(place)) is not None
                and not list(before.parent.glob(".*.ckpt-*"))
            )
            how = "a tmpfs" if mounted else "an injected ENOSPC"
        yield f"disk full ({how}, {what}): exit 1, one line with the need, the earlier checkpoint loads", int(held), 1
        shutil.rmtree(home / "disk", ignore_errors=True)


def read_only(home: Path, tell: Callable[[str, int, int], None]) -> Iterator[Row]:
    path = config(home, SETTINGS[0])
    tell("read-only folder", 0, 1)
    with _tmpfs(home / "sealed", "64M") as place:
        if place is None:
            yield "read-only mount: no right to mount here, not tried", 0, 0
            return
        held = fit(path, place, "--checkpoint_every", "4", "--trainer.max_steps", "8").wait() == 0
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        try:
            elsewhere = home / "elsewhere"
            again = fit(path, elsewhere, "--resume", "auto", "--trainer.default_root_dir", str(place))
            code, said = again.wait(), again.said()
            lines = [line for line in said.splitlines() if line.startswith("lightning-med: ")]
            held = held and code not in (0, None) and len(lines) == 1 and "Traceback" not in said
            held = held and checkpoint_files.find_newest_whole(run_of(place)) is not None
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
    yield "read-only mount: non-zero exit, one line, the earlier checkpoint loads", int(held), 1


@contextmanager
def _tmpfs(place: Path, size: str) -> Iterator[Path | None]:
    """A small file system in memory, or `None` where there is no right to mount one."""
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True)
    try:
        yield place if done.returncode == 0 else None
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(place: Path, leave: int) -> None:
    free = shutil.disk_usage(place).free
    with (place / "filler").open("wb") as file:
        file.write(b"\0" * max(free - leave, 0))


def _without_check() -> None:
    writing.check_space = lambda checkpoint, path: None


def _injected() -> None:
    """Where nothing can be mounted: the system's own error, from a write of ours."""
    import errno

    def failing(content: object, file: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _without_check()
    writing.torch.save = failing  # type: ignore[attr-defined,assignment]
