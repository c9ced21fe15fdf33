"""Memory that a process may still take: of the machine, its container, and its own limit."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CONTROL_GROUPS = (  # versions 2 and 1: limit, usage, statistics, and the statistic that the kernel gives back
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", "total_inactive_file"),
)


def measure_host_memory() -> int:
    """Returns the bytes that this process may still take of the machine, or of its container if that has less."""
    return int(min(_read_available(), _read_container_room()))


def measure_address_room() -> float:
    """Returns the bytes of address space that `ulimit -v` leaves a new process; infinity where it sets no limit."""
    try:
        import resource  # not on Windows

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    except (ImportError, AttributeError, OSError):
        return math.inf
    return math.inf if limit == resource.RLIM_INFINITY else float(limit)


def _read_available() -> int:
    try:  # sysconf's SC_AVPHYS_PAGES leaves out the page cache, which the kernel gives back
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return 4 << 30


def _read_container_room(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float:
    """Returns the bytes that the limits of the control group and those above it leave; infinity where none is set.

    The file cache counts as free, because the kernel gives it back.
    """
    return min((_read_room(folder) for folder in _list_groups(root, membership)), default=math.inf)


def _list_groups(root: Path, membership: Path) -> Iterator[Path]:
    """Yields the folders that may limit this process: in a container the root itself, elsewhere its group's path."""
    yield from (root, root / "memory")
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers in ("", "memory"):
            home = root / controllers
            group = home / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder != home and home in folder.parents)


def _read_room(folder: Path) -> float:
    for limit, usage, statistics, cache in _CONTROL_GROUPS:
        try:
            room = int((folder / limit).read_text()) - int((folder / usage).read_text())
            fields = dict(line.split() for line in (folder / statistics).read_text().splitlines())
            return max(room + int(fields.get(cache, 0)), 0)
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return math.inf
