"""What the cache holds, entry by entry, and the deletion of one."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning_med.data.preparation.cache.cache_folder import CLEAN_ROWS, DIGESTS, GGUF, get_lock_path
from lightning_med.data.preparation.cache.marks import claim_entry
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import make_temporary_folder

Kind = Literal["rows", "tokens", "gguf", "digests", "leftovers"]
_KEY = re.compile(r"[0-9a-f]{24}")  # names a folder of prepared data; nothing else in the cache's folder is ours
_LEFTOVER = re.compile(r"\.[0-9a-f]{24}-[0-9a-f]{16}")  # of a process that was killed
_REPORT = "report.json"
_SHOWN = 40  # characters of the files' names


@dataclass(frozen=True)
class Entry:
    """A folder or a file of the cache.

    Attributes:
        kind: `rows` and `tokens` are the two levels of prepared data, `gguf` what llama.cpp reads, `digests` what is
            remembered of the sources, `leftovers` what processes that were killed have left.
        what: It was made of, in words.
        path: Of it.
        size: Bytes.
        used: When it was last used, in seconds since 1970.
    """

    kind: Kind
    what: str
    path: Path
    size: int
    used: float


def list_entries(root: Path) -> list[Entry]:
    """Returns what a cache holds, by kind, the largest first.

    Raises:
        InputError: A folder of it cannot be read.
    """
    order = ("rows", "tokens", "gguf", "digests", "leftovers")
    try:
        return sorted(_find_entries(root), key=lambda entry: (order.index(entry.kind), -entry.size, entry.path.name))
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.", "Check its permissions.") from error


def delete_entry(entry: Entry, before: float = math.inf) -> bool:
    """Deletes an entry unless a process makes or uses it; returns whether it is gone.

    A folder is renamed before, so that none is ever seen that lacks a part.

    Args:
        entry: As it was listed; it may have been used since.
        before: An entry that was used later stays, in seconds since 1970.

    Raises:
        OSError: It cannot be deleted.
    """
    with claim_entry(*_find_lock(entry)) as is_free:
        if not is_free or (entry.path.exists() and entry.path.stat().st_mtime > before):
            return False
        if entry.path.is_dir():
            aside = entry.path
            if entry.kind != "leftovers":
                aside = make_temporary_folder(entry.path)
                os.rename(entry.path, aside)
            shutil.rmtree(aside)
        else:
            entry.path.unlink(missing_ok=True)
        return True


def measure_size(path: Path) -> int:
    """Returns the bytes of a file, or of all files below a folder, where a link is not followed."""
    if not path.is_dir():
        return path.stat().st_size
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):  # gone meanwhile
                size += os.lstat(os.path.join(folder, name)).st_size
    return size


def _find_entries(root: Path) -> Iterator[Entry]:
    for kind, what, path in _find_paths(root):
        with suppress(FileNotFoundError):  # deleted since it was listed
            yield Entry(kind, what, path, measure_size(path), path.stat().st_mtime)


def _find_paths(root: Path) -> Iterator[tuple[Kind, str, Path]]:
    levels: tuple[tuple[Kind, Path], ...] = (("rows", root / CLEAN_ROWS), ("tokens", root))
    for kind, level in levels:
        for folder in _list_folder(level):
            if _KEY.fullmatch(folder.name) and (folder / _REPORT).is_file():
                yield kind, _describe(folder), folder
            elif _LEFTOVER.fullmatch(folder.name):
                yield "leftovers", "half-made, by a process that was killed", folder
    for file in _list_folder(root / GGUF):
        if file.name.endswith(".gguf") and not file.name.startswith("."):
            yield "gguf", file.name, file
    if (root / DIGESTS).is_file():
        yield "digests", "of sources, so that they are not read again", root / DIGESTS


def _list_folder(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _describe(folder: Path) -> str:
    """Returns the files that prepared data was made of and how many rows it has."""
    try:
        report: dict[str, Any] = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
        report = report.get("figures", report)
        names = ", ".join(report["files"])
        names = names if len(names) <= _SHOWN else f"{names[:_SHOWN]}…"
        return f"{names}: {report['rows_out']:,} rows"
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return "damaged"


def _find_lock(entry: Entry) -> tuple[Path, Path | None]:
    """Returns what a process uses that uses an entry, and the file that is locked while it is made, if any."""
    if entry.kind == "gguf":
        return entry.path, None
    if entry.kind == "digests":
        return entry.path, entry.path.with_suffix(".lock")
    path = entry.path
    if entry.kind == "leftovers":  # the lock is that of the whole folder
        path = path.with_name(path.name[1:].partition("-")[0])
    return path, get_lock_path(path)
