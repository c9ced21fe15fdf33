"""What of this system is mounted below a changed root, for as long as commands run there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lightning_med.utils.errors import InputError, RunError

TABLE = Path("/proc/self/mountinfo")
_SYSTEM = ("/proc", "/dev")


def call(*argv: str) -> None:
    """Runs a program of this system.

    Raises:
        RunError: It failed.
    """
    if status := subprocess.run(argv).returncode:
        raise RunError(f"{' '.join(argv)}: it ended with status {status}.", "Mend what it says above.")


@contextmanager
def mount(root: Path, shared: Sequence[Path]) -> Iterator[None]:
    """Mounts what commands need of the system, and read-only what is shared, for instance a folder of wheels.

    Args:
        root: Of the commands.
        shared: Paths of this system; they are the same below the root.

    Raises:
        InputError: A path leads out of the root, through a link.
        RunError: A path cannot be mounted, or stays mounted.
    """
    with ExitStack() as stack:
        for path in (*map(Path, _SYSTEM), *shared):
            place = (root / str(path).lstrip("/")).resolve()
            if not place.is_relative_to(root.resolve()):
                raise InputError(f"{path} leads out of {root}, to {place}.", "Share another path.")
            if path.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            stack.callback(_unmount, place)  # before it is mounted: a signal may come between the two
            call("mount", "-o", "bind,ro" if path in shared else "bind", str(path), str(place))
        yield


def list_mounts(folder: Path) -> list[Path]:
    """Returns what is mounted at a folder and below it, in the order in which it was mounted."""
    points = [line.split()[4] for line in TABLE.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
    paths = [Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), point)) for point in points]
    return [path for path in paths if path.is_relative_to(folder.resolve())]


def _unmount(place: Path) -> None:
    """Unmounts a path, lazily if a program still uses it: then nothing is mounted there for those that come later."""
    if place in list_mounts(place) and subprocess.run(["umount", str(place)]).returncode:
        call("umount", "--lazy", str(place))
