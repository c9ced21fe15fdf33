"""Digests of checkpoint files: whether a file is, bit by bit, what was written."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

ENDING = ".sha256"


def get_digest_path(path: Path) -> Path:
    """Returns the file that holds a checkpoint's digest; a link has that of its target."""
    path = path.resolve()
    return path.with_name(path.name + ENDING)


def compute_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compute_checkpoint_digest(path: Path) -> str:
    """Returns the SHA-256 of a checkpoint that may have been verified already, which is then not read again."""
    path = path.resolve()
    state = path.stat()
    return _compute_digest_once(path, state.st_mtime_ns, state.st_size)


def write_digest(path: Path, content: Path) -> None:
    """Writes the digest that `path` will have once `content` has been renamed to it, in the form of `sha256sum`."""
    write_text(path.with_name(path.name + ENDING), f"{compute_digest(content)}  {path.name}\n")


def verify_digest(path: Path) -> bool:
    """Returns `True` if the file fits its digest, `False` if it has none.

    Raises:
        InputError: The file does not fit its digest.
    """
    path = path.resolve()
    try:
        words = get_digest_path(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return False
    if not words or compute_checkpoint_digest(path) != words[0]:
        raise InputError(
            f"{path} is damaged: its content is not what was written.",
            "Nothing was loaded from it; take another of its folder, or fit --resume auto, which finds the newest one.",
        )
    return True


@lru_cache(maxsize=8)
def _compute_digest_once(path: Path, changed: int, size: int) -> str:
    """Computes a digest once for all the places in a command that read the checkpoint."""
    return compute_digest(path)
