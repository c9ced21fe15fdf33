"""The GGUF file of an export for llama.cpp in this process, made once and kept in the cache."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning_med.checkpoints.digests import compute_digest
from lightning_med.export.gguf.folder import write_gguf
from lightning_med.export.trained_model import TrainedModel
from lightning_med.inference.model_folder import ModelFolder
from lightning_med.model.weight_files import compute_digest as compute_weights_digest
from lightning_med.utils.console import Progress
from lightning_med.utils.files import write_atomically
from lightning_med.version import __version__

_KEPT = 4  # files, those that were used last


def make_gguf(model: ModelFolder, cache: Path, progress: Progress) -> Path:
    """Returns the GGUF file of a model, with 8-bit weights; makes it where the cache lacks it.

    Args:
        model: The folder.
        cache: Where such files are kept, each under the digest of what it is made of.
        progress: Is told what is being done.
    """
    path = cache / f"{_identify(model, progress)}.q8_0.gguf"
    if path.is_file():
        with suppress(OSError):  # the cache may be for reading only
            path.touch()  # among the last ones that were used
        return path
    network: Any = model.load_network()
    trained = TrainedModel(
        network.float(),
        model.encoder.tokenizer,
        model.encoder.prompt,
        model.decoding,
        model.encoder.stops,
        model.context,
        card={},
        steps=0,
    )
    cache.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as part:
        write_gguf(trained, part, "q8_0", progress)
    with suppress(OSError):  # another process may remove the same ones, or read one
        for old in sorted(cache.glob("*.q8_0.gguf"), key=lambda file: file.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
    return path


def _identify(model: ModelFolder, progress: Progress) -> str:
    """Returns 16 hexadecimal digits that stand for a model's weights, settings and tokenizer, and for this release."""
    parts = [__version__, compute_weights_digest(model.folder, progress)]  # another release may write other files
    parts += [f"{path.name} {compute_digest(path)}" for path in sorted(model.folder.glob("*.json"))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
