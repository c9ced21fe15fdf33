"""Reading of checkpoints without trusting them, and checks of what they hold against today's settings."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lightning_med.checkpoints.digests import verify_digest
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import refuse_pointer

KEY = "lightning_med"  # of our entry in a checkpoint
NETWORK = "model."  # beginning of the names of the network's weights in a checkpoint
FORMAT, ADAPTER_FORMAT = 1, 2  # of a checkpoint with all weights, and of one that needs its base
OWN_SETTINGS = "Give the run's own settings: --config RUN/config.yaml"
_warned: set[Path] = set()  # unverified files, each reported once


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of ours. Its tensors are mapped from disk; no code in it is run.

    Raises:
        InputError: It does not exist, is a Git LFS pointer, does not fit its digest, is no archive, holds code, or is
            not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: no such checkpoint.", "A run keeps its own in RUN/checkpoints, for instance last.ckpt."
        )
    refuse_pointer(path)
    if not verify_digest(path) and path.resolve() not in _warned:
        _warned.add(path.resolve())
        say(f"{path} is unverified: no digest lies beside it.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # whatever torch raises, the file cannot be used
        raise InputError(
            f"{path} is not a whole checkpoint, or holds more than tensors and plain values.",
            "Take another of RUN/checkpoints; nothing was loaded from it.",
        ) from error
    if not isinstance(content, dict) or KEY not in content or "state_dict" not in content:
        raise InputError(f"{path} is a file of torch, but not a checkpoint of lightning-med.", "Give RUN/checkpoints/…")
    if content[KEY].get("format") not in (FORMAT, ADAPTER_FORMAT):
        read = f"this version reads {FORMAT} and {ADAPTER_FORMAT}"
        raise InputError(f"{path} has format {content[KEY].get('format')}; {read}.", "Update the package.")
    return content


def read_card(content: dict[str, Any]) -> dict[str, Any]:
    """Returns our entry of a checkpoint: `network`, `tokenizer`, `prompt`, `settings`, `data`, `metrics`, …"""
    card = dict(content[KEY])
    for name in ("settings", "data", "metrics"):
        card[name] = json.loads(card[name])
    return card


def select_network(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the network's weights of a checkpoint's state, by their names in the network."""
    return {name[len(NETWORK) :]: value for name, value in state.items() if name.startswith(NETWORK)}


def check_same(name: str, same: bool, option: str = "") -> None:
    """Refuses a checkpoint that was trained with another tokenizer or prompt than the settings name.

    Args:
        name: What is compared.
        same: Whether it is the same.
        option: The option that sets it, if there is one.

    Raises:
        InputError: `same` is false.
    """
    if not same:
        hint = f"Leave {option} out and g{OWN_SETTINGS[1:]}" if option else OWN_SETTINGS
        raise InputError(f"The checkpoint was trained with another {name} than the settings name.", hint)


def check_identity(
    there: dict[str, str], here: dict[str, str], anyway: bool, details: Mapping[str, str] | None = None
) -> None:
    """Refuses to resume a run under settings that make it another run, and names the first that differs.

    Args:
        there: The checkpoint's settings by name.
        here: Today's settings by name.
        anyway: Accept differences.
        details: What exactly differs in a setting, instead of two digests, where it is known.

    Raises:
        InputError: One differs.
    """
    details = details or {}
    for name in sorted(there, key=lambda name: name not in details):  # what is known exactly comes first
        before, now = there[name], here.get(name, "")
        if now != before and not anyway:
            both = f"{name} {_shorten(before)} there and {_shorten(now)} here"
            detail = details.get(name)
            raise InputError(
                f"The checkpoint is of another run: {f'its {name} differs in {detail}' if detail else both}.",
                "Give what it began with, RUN/config.yaml; or mix the two on purpose: --resume_anyway true",
            )


def _shorten(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")


def check_shapes(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """Refuses a checkpoint of a network of another shape, and names the first weight that differs.

    Args:
        ours: The network's state.
        theirs: The checkpoint's.

    Raises:
        InputError: A name or a shape differs.
    """
    what = "The checkpoint holds another model than the settings name"
    for name in sorted(set(ours) ^ set(theirs)):
        raise InputError(f"{what}: {name} is in one only.", OWN_SETTINGS)
    for name, weight in ours.items():
        there, here = list(theirs[name].shape), list(weight.shape)
        if there != here:
            raise InputError(f"{what}: {name} is {there} there and {here} here.", OWN_SETTINGS)
