"""The manifest of a converted base: by it a folder is known to be whole and unchanged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

MANIFEST = "manifest.json"


def write_manifest(folder: Path, origin: str) -> None:
    """Writes the sizes and SHA-256 digests of a folder's files into it.

    Args:
        folder: Complete but for the manifest.
        origin: What the files were made of.
    """
    files = {path.name: [path.stat().st_size, compute_sha256(path)] for path in sorted(folder.iterdir())}
    text = json.dumps({"origin": origin, "files": files}, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def find_damage(folder: Path, origin: str) -> str:
    """Returns what is wrong with a folder that has a manifest; empty if it is whole and of this origin."""
    try:
        stored = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found, files = stored["origin"], dict(stored["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{MANIFEST} cannot be read"
    if found != origin:
        return f"it is made of {found}, not of {origin}"
    for name, (size, digest) in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size or compute_sha256(path) != digest:
            return f"{name} has changed"
    return ""


def compute_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
