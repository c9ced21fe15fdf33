"""Digests of the sources' content."""

from __future__ import annotations

import json
from hashlib import file_digest, sha256
from pathlib import Path

from lightning_med.data.preparation.recipe import Files
from lightning_med.data.sources.source import name_files
from lightning_med.utils.errors import InputError


def digest_content(files: Files) -> bytes:
    """Returns a digest of the files' names, sources and content; their place has no effect.

    Raises:
        InputError: A file cannot be read.
    """
    names = name_files([file for _, file in files])
    entries = [(number, name, _hash_file(file)) for (number, file), name in zip(files, names, strict=True)]
    return sha256(json.dumps(entries).encode()).digest()


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
