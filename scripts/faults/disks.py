"""Full and read-only disks: the run ends with a one-line message, and the earlier checkpoint loads."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.configs import SETTINGS, write_config
from faults.runs import Progress, Result, get_run_folder, start_fit
from lightning_med.checkpoints import digests, writing
from lightning_med.checkpoints.newest_checkpoint import find_newest_whole


def check_full_disk(folder: Path, progress: Progress) -> Iterator[Result]:
    """Resumes a run on a full disk: with the check of the free space, and without it, so that the write fails."""
    config = write_config(folder, SETTINGS[0])
    for number, (checked, case) in enumerate(((True, "free space is checked"), (False, "the write itself fails"))):
        progress("full disk", number, 2)
        with _mount_tmpfs(folder / "disk", "64M") as mount:
            cwd = mount or folder / "disk"
            first = start_fit(config, cwd, "--checkpoint_every", "4", "--trainer.max_steps", "8").wait()
            earlier = get_run_folder(cwd) / "checkpoints" / "step-8.ckpt"
            if mount:
                _fill_disk(cwd, leave=12 << 20 if checked else 100 << 10)
            inject = None if checked and mount else _disable_space_check if mount else _fail_writes
            resumed = start_fit(config, cwd, "--resume", "auto", inject=inject)
            code, log = resumed.wait(), resumed.read_log()
            messages = _find_messages(log)
            held = (
                first == 0
                and code == 1
                and "Traceback" not in log
                and bool(messages)
                and "MiB" in messages[0]
                and digests.verify_digest(earlier)
                and find_newest_whole(get_run_folder(cwd)) is not None
                and not list(earlier.parent.glob(".*.ckpt-*"))
            )
        method = "a tmpfs" if mount else "an injected ENOSPC"
        what = f"disk full ({method}, {case}): exit 1, one line with the space needed, the earlier checkpoint loads"
        yield what, int(held), 1
        shutil.rmtree(folder / "disk", ignore_errors=True)


def check_read_only_mount(folder: Path, progress: Progress) -> Iterator[Result]:
    """Resumes a run whose folder is on a mount that has become read-only."""
    config = write_config(folder, SETTINGS[0])
    progress("read-only mount", 0, 1)
    with _mount_tmpfs(folder / "read-only", "64M") as mount:
        if mount is None:
            yield "read-only mount: not tested, this user may not mount", 0, 0
            return
        held = start_fit(config, mount, "--checkpoint_every", "4", "--trainer.max_steps", "8").wait() == 0
        subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
        try:
            writable = folder / "writable"
            resumed = start_fit(config, writable, "--resume", "auto", "--trainer.default_root_dir", str(mount))
            code, log = resumed.wait(), resumed.read_log()
            held = held and code != 0 and len(_find_messages(log)) == 1 and "Traceback" not in log
            held = held and find_newest_whole(get_run_folder(mount)) is not None
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(mount)], check=True)
    yield "read-only mount: non-zero exit, one line, the earlier checkpoint loads", int(held), 1


def _find_messages(log: str) -> list[str]:
    return [line for line in log.splitlines() if line.startswith("lightning-med: ")]


@contextmanager
def _mount_tmpfs(folder: Path, size: str) -> Iterator[Path | None]:
    """Mounts a small file system in memory; yields `None` if the user may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    try:
        yield folder if mount.returncode == 0 else None
    finally:
        if mount.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill_disk(folder: Path, leave: int) -> None:
    """Writes a file that leaves so many bytes free."""
    free = shutil.disk_usage(folder).free
    with (folder / "filler").open("wb") as file:
        file.write(b"\0" * max(free - leave, 0))


def _disable_space_check() -> None:
    writing.check_space = lambda checkpoint, path: None


def _fail_writes() -> None:
    """Raises the system's error from `torch.save`, where nothing can be mounted."""

    def fail(content: object, file: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _disable_space_check()
    writing.torch.save = fail  # type: ignore[attr-defined,assignment]
