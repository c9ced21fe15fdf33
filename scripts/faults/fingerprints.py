"""What the last checkpoint of a run contains: a digest for exact comparison, the steps, the weights."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from lightning_med.checkpoints.reading import KEY, read_checkpoint


def compute_fingerprint(run: Path) -> tuple[str, int]:
    """Returns the SHA-256 over weights, optimizer state and learning-rate schedule, and the number of steps.

    Where weights are averaged, it is that of the average and of the current weights.
    """
    content = _load_last(run)
    digest = hashlib.sha256()
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "current_model_state", "averaging_state"):
        _update_digest(digest, content.get(part))
    return digest.hexdigest(), int(content["global_step"])


def read_end(run: Path) -> str:
    """Returns why a run is finished, as its last checkpoint says; empty if it is not."""
    return str(_load_last(run)[KEY]["finished"])


def read_validations(run: Path) -> list[tuple[str, str]]:
    """Returns step and perplexity of each validation of a run, as logged."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [(row["step"], row["val/perplexity"]) for row in csv.DictReader(file) if row.get("val/perplexity")]


def read_weights(run: Path) -> dict[str, torch.Tensor]:
    return _load_last(run)["state_dict"]  # type: ignore[no-any-return]


def read_steps(run: Path) -> int:
    """Returns the number of optimizer steps; the digest of the checkpoint is verified."""
    return int(read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"])


def _load_last(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)  # type: ignore[no-any-return]


def _update_digest(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        digest.update(str((value.dtype, tuple(value.shape))).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())  # numpy has no bfloat16
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            digest.update(str(key).encode())
            _update_digest(digest, value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            _update_digest(digest, item)
    else:
        digest.update(json.dumps(value).encode())
