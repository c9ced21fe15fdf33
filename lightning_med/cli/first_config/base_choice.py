"""The base of a first config: which one, how many weights it has, and whether it is there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from lightning_med.cli.bases.download import BASES
from lightning_med.cli.parsing.nearest import find_nearest
from lightning_med.utils.errors import InputError
from lightning_med.utils.hub import HOME_OF_BASES

SCRATCH = "scratch"
_ON_HUB = {"distilgpt2": 82e6, "gpt2": 124e6, "gpt2-medium": 355e6, "gpt2-large": 774e6, "gpt2-xl": 1558e6}
_FETCHED = {"smollm2": 134.5e6}
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([mb])(?![a-z])", re.I)  # as in SmolLM2-135M, Qwen2.5-0.5B
_LEAST = 1.9  # GiB that an adapter of SmolLM2 takes at least, see docs/adapters.md


@dataclass(frozen=True)
class Base:
    """What training starts from.

    Attributes:
        name: As `--model.base` takes it; `None` for random weights.
        weights: How many; `None` where a name does not tell.
        context: Tokens that it can read; `None` where it is not at hand.
        is_gpt2: Of GPT-2's family, which takes a higher rate than later ones.
        fetch: The name by which `lightning-med fetch` makes its folder, which is missing; empty otherwise.
    """

    name: str | None
    weights: float | None = None
    context: int | None = None
    is_gpt2: bool = False
    fetch: str = ""


def suggest_base(memory: float) -> str:
    """Returns a base that is there, else the one that can be fetched, else random weights where memory is too short.

    Args:
        memory: GiB that are free.
    """
    found = (path.parent for path in HOME_OF_BASES.glob("*/config.json"))
    there = sorted(str(folder) for folder in found if not folder.name.startswith("."))  # of a fetch that was killed
    if memory < _LEAST:
        return SCRATCH
    preferred = str(HOME_OF_BASES / "smollm2")
    return preferred if preferred in there or not there else there[0]


def read_base(answer: str) -> Base:
    """Looks at what an answer names.

    Args:
        answer: A folder, a name of `lightning-med fetch`, a name on the Hub, or `scratch`. Nothing is downloaded.

    Raises:
        InputError: It is none of these.
    """
    folder = (
        HOME_OF_BASES / answer
        if answer in BASES or (HOME_OF_BASES / answer / "config.json").is_file()
        else Path(answer)
    )
    if answer == SCRATCH:
        return Base(None)
    if folder.expanduser().is_dir():
        return _read_folder(folder)
    if folder.suffix.lower() == ".gguf":
        raise InputError(
            f"{answer} is a GGUF file.", f"First: lightning-med fetch {answer} --output {HOME_OF_BASES}/NAME"
        )
    if folder.parent == HOME_OF_BASES and folder.name in BASES:
        return Base(str(folder), _FETCHED[folder.name], fetch=folder.name)
    if answer in _ON_HUB:
        return Base(answer, _ON_HUB[answer], 1024, is_gpt2=True)
    if (
        _NAME.fullmatch(answer)
        and folder.parts[0] not in (str(HOME_OF_BASES), ".", "..")
        and not folder.parent.exists()
    ):
        return Base(answer, guess_weights(answer))
    near = find_nearest(answer, [SCRATCH, *BASES, *_ON_HUB])
    hint = f"It takes a folder, {', '.join(BASES)}, distilgpt2, OWNER/NAME on the Hub, or {SCRATCH}."
    raise InputError(f"{answer}: there is no such base.", f"Did you mean {near}? {hint}" if near else hint)


def guess_weights(name: str) -> float | None:
    """Returns the number of weights that a model's name tells, such as `…-135M`; `None` where it tells none."""
    found = _SIZE.search(name.replace("_", "-"))  # a later number may be of tokens: TinyLlama-1.1B-step-50K-105b
    return float(found[1]) * (1e6 if found[2] in "mM" else 1e9) if found else None


def _read_folder(folder: Path) -> Base:
    from lightning_med.model.weight_files import check_files, count_parameters

    place = folder.expanduser()
    try:
        config = json.loads((place / "config.json").read_text(encoding="utf-8"))
        context = config.get("max_position_embeddings") or config.get("n_positions")
    except (OSError, ValueError, AttributeError) as error:
        hint = "A base is a folder with config.json, model.safetensors and a tokenizer."
        raise InputError(f"{folder} has no config.json that can be read.", hint) from error
    check_files(place, str(folder))
    return Base(str(folder), count_parameters(place), context, config.get("model_type") == "gpt2")
