"""Digests of the sources' content, remembered so that not every command and every rank reads all sources again."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path
from time import time_ns
from typing import Any

from filelock import FileLock

from lightning_med.data.preparation.recipe import Files
from lightning_med.data.sources.source import name_files
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

NAME = "source_digests.json"
_RACY = 2_000_000_000  # nanoseconds; file systems date changes to two seconds (FAT) or better


class SourceDigests:
    """The digest of some files' names, sources and content; their place has no effect.

    The digest of each file is remembered in the cache, with the file's size, inode and times of modification and of
    status change. A file that was modified less than two seconds before it was read is not remembered: another change
    within these seconds could leave its times as they are (git has the same problem with its index).

    Args:
        root: The folder of the cache.
        files: Each with the number of its source.
    """

    def __init__(self, root: Path, files: Files) -> None:
        self._root = root
        self._numbers = [number for number, _ in files]
        self._files = [file for _, file in files]

    def recall(self) -> bytes | None:
        """Returns the digest without reading a file; `None` if one of them is not remembered or has changed."""
        known, hashes = self._load(), []
        for file in self._files:
            try:
                entry = known.get(str(file.resolve()), {})
                if entry["identity"] != _identify(file.stat()):
                    return None
                hashes.append(entry["sha256"])
            except (OSError, KeyError, TypeError):
                return None
        return self._join(hashes)

    def compute(self) -> bytes:
        """Reads all files, remembers their digests and returns the digest of all.

        Raises:
            InputError: A file cannot be read.
        """
        hashes, entries = [], {}
        for file in self._files:
            started = time_ns()
            try:
                with file.open("rb") as stream:
                    before = os.fstat(stream.fileno())
                    hashes.append(file_digest(stream, "sha256").hexdigest())
                    after = os.fstat(stream.fileno())
            except OSError as error:
                raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
            if _identify(before) == _identify(after) and after.st_mtime_ns <= started - _RACY:
                entries[str(file.resolve())] = {"identity": _identify(after), "sha256": hashes[-1]}
        with suppress(OSError):  # a full disk: the files are read again next time
            self._save(entries)
        return self._join(hashes)

    def _join(self, hashes: list[str]) -> bytes:
        names = name_files(self._files)
        entries = list(zip(self._numbers, names, hashes, strict=True))
        return sha256(json.dumps(entries).encode()).digest()

    def _load(self) -> dict[str, Any]:
        try:
            known = json.loads((self._root / NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or damaged
            return {}
        return known if isinstance(known, dict) else {}

    def _save(self, entries: dict[str, Any]) -> None:
        """Adds entries to those of other processes and drops those of files that are gone."""
        with FileLock((self._root / NAME).with_suffix(".lock")):
            for leftover in self._root.glob(f".{NAME}-*"):  # of a process that was killed
                leftover.unlink()
            before = self._load()
            known = {path: entry for path, entry in before.items() if os.path.exists(path)} | entries
            if known != before:
                write_text(self._root / NAME, json.dumps(known, indent=1))


def _identify(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
