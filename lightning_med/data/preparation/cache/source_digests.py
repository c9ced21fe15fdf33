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

from lightning_med.data.preparation.cache.cache_folder import DIGESTS
from lightning_med.data.preparation.recipe import Files
from lightning_med.data.sources.source_files import name_files
from lightning_med.data.sources.table_places import locate_table
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text

_RACY = 2_000_000_000  # nanoseconds; file systems date changes to two seconds (FAT) or better


class SourceDigests:
    """The digest of some files' names, sources and content; their folder counts only where two files share a name.

    Of a table inside a file, the path in it counts too.

    The digest of each file is remembered in the cache, with the file's size, inode and times of modification and of
    status change. A file that was modified less than two seconds before it was read is not remembered: another change
    within these seconds could leave its times as they are (git has the same problem with its index).

    From the content comes a secret as well, which is not remembered and cannot be derived from what is: who knows it
    has read the sources. Clean rows are stored with hashes that it encrypts.

    Args:
        root: The folder of the cache.
        files: Each with the number of its source.
    """

    def __init__(self, root: Path, files: Files) -> None:
        self._root = root
        self._numbers = [number for number, _ in files]
        self._names = name_files([file for _, file in files])
        self._places = [locate_table(file) for _, file in files]
        self._files = [place.file for place in self._places]  # of an archive's tables, the archive

    def recall(self) -> bytes | None:
        """Returns the digest without reading a file; `None` if one of them is not remembered or has changed."""
        known, digests = self._load(), []
        for file in self._files:
            try:
                entry = known.get(str(file.resolve()), {})
                if entry["identity"] != _identify(file.stat()):
                    return None
                digests.append(entry["digest"])
            except (OSError, KeyError, TypeError):
                return None
        return self._join(digests)

    def compute(self) -> tuple[bytes, bytes]:
        """Reads all files and remembers their digests.

        Returns:
            The digest of all files, and the secret.

        Raises:
            InputError: A file cannot be read.
        """
        hashes, entries = {}, {}
        for file in dict.fromkeys(self._files):
            hashes[file], identity = _read(file)
            if identity is not None:
                entries[str(file.resolve())] = {"identity": identity, "digest": _hash(hashes[file])}
        with suppress(OSError):  # a full disk: the files are read again next time
            self._save(entries)
        file_hashes = [hashes[file] for file in self._files]
        secret = bytes.fromhex(
            _hash("\n".join(["secret", *file_hashes]))
        )  # no digest that is remembered is of such a text
        return self._join([_hash(file_hash) for file_hash in file_hashes]), secret

    def _join(self, digests: list[str]) -> bytes:
        tables = [place.digest(digest) for place, digest in zip(self._places, digests, strict=True)]
        entries = zip(self._numbers, self._names, tables, strict=True)
        return bytes.fromhex(_hash(json.dumps(list(entries))))

    def _load(self) -> dict[str, Any]:
        try:
            known = json.loads((self._root / DIGESTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or damaged
            return {}
        return known if isinstance(known, dict) else {}

    def _save(self, entries: dict[str, Any]) -> None:
        """Adds entries to those of other processes and drops those of files that are gone."""
        with FileLock((self._root / DIGESTS).with_suffix(".lock")):
            for leftover in self._root.glob(f".{DIGESTS}-*"):  # of a process that was killed
                leftover.unlink()
            before = self._load()
            known = {path: entry for path, entry in before.items() if os.path.exists(path)} | entries
            if known != before:
                write_text(self._root / DIGESTS, json.dumps(known, indent=1))


def _read(path: Path) -> tuple[str, list[int] | None]:
    """Returns the hash of a file, and its identity; `None` instead where the identity might outlast the content."""
    started = time_ns()
    try:
        with path.open("rb") as stream:
            before = _identify(os.fstat(stream.fileno()))
            content_hash = file_digest(stream, "sha256").hexdigest()
            after = os.fstat(stream.fileno())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    settled = _identify(after) == before and after.st_mtime_ns <= started - _RACY
    return content_hash, before if settled else None


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _identify(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
