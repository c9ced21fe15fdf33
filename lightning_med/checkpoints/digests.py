"""Digests: whether a checkpoint is, to the bit, what was written."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

ENDING = ".sha256"


def digest_path(path: Path) -> Path:
    """Where a file's digest stands; a link's is its target's."""
    path = path.resolve()
    return path.with_name(path.name + ENDING)


def compute_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_digest(path: Path, content: Path) -> None:
    """Writes the digest that `path` will have once `content` has taken its place, as `sha256sum` does."""
    write_text(path.with_name(path.name + ENDING), f"{compute_digest(content)}  {path.name}\n")


def verify_digest(path: Path) -> bool:
    """Whether a file has a digest, which it fits; without one nobody can know.

    Raises:
        InputError: It does not fit.
    """
    path = path.resolve()
    try:
        words = digest_path(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return False
    state = path.stat()
    if not words or _compute_digest_once(path, state.st_mtime_ns, state.st_size) != words[0]:
        raise InputError(
            f"{path} is damaged: its content is not what was written.",
            "Nothing was loaded from it; take another of its folder, or fit --resume auto, which finds the newest one.",
        )
    return True


@lru_cache(maxsize=8)
def _compute_digest_once(path: Path, changed: int, size: int) -> str:
    """Read once, not at each of the places that look into a checkpoint."""
    return compute_digest(path)
