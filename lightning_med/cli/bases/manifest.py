"""The manifest of a converted base: by it a folder is known to be whole and unchanged."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a folder was made of, and the size in bytes and the SHA-256 digest of each of its files."""

    origin: str
    files: dict[str, tuple[int, str]]


def write_manifest(folder: Path, origin: str) -> None:
    """Writes the sizes and SHA-256 digests of a folder's files into it.

    Args:
        folder: Complete but for the manifest.
        origin: What the files were made of.
    """
    files = {path.name: [path.stat().st_size, compute_sha256(path)] for path in sorted(folder.iterdir())}
    text = json.dumps({"origin": origin, "files": files}, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest of a folder; None if there is none that `write_manifest` could have written."""
    try:
        stored = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {str(name): (int(size), str(digest)) for name, (size, digest) in stored["files"].items()}
        if any(Path(name).name != name for name in files):
            return None
        return Manifest(str(stored["origin"]), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def find_damage(folder: Path, manifest: Manifest, origin: str) -> str:
    """Returns what is wrong with a folder that has a manifest; empty if it is whole and of this origin."""
    if manifest.origin != origin:
        return f"it is made of {manifest.origin}, not of {origin}"
    for name, (size, digest) in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size or compute_sha256(path) != digest:
            return f"{name} has changed"
    return ""


def compute_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
