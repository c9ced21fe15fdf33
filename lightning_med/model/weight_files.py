"""Loads the weights of a folder and refuses those that are incomplete, of another shape, or quantized."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from lightning_med.utils.console import Progress
from lightning_med.utils.errors import InputError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_WEIGHTS = "model.safetensors"
_BLOCK = 1 << 24  # bytes read at once
_SHOWN = 3  # names of weights in a message
_DECODER = "Use a decoder, for instance distilgpt2 or HuggingFaceTB/SmolLM2-135M."


def read_config(folder: Path) -> PretrainedConfig:
    """Reads the configuration of a folder; the attention is transformers' choice, not the folder's.

    A configuration may name an attention that transformers would fetch from the Hub, which is code.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    config._attn_implementation = None
    return config


def check_config(config: PretrainedConfig, name: str) -> None:
    """Refuses what a configuration alone shows to be no decoder in full precision.

    Args:
        config: Of a base, or of a network to be built.
        name: The base, for the message.

    Raises:
        InputError: It is an encoder-decoder, or its weights are quantized.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(f"{name} is an encoder-decoder ({config.model_type}), not a decoder.", _DECODER)
    quantization: Any = getattr(config, "quantization_config", None)
    if quantization:
        fields = quantization if isinstance(quantization, dict) else vars(quantization)
        method = str(fields.get("quant_method") or "unknown method").rpartition(".")[2]
        raise InputError(
            f"{name}: its weights are quantized ({method}), and quantized weights cannot be trained.",
            "Name the base in full precision that they were made from.",
        )


def compute_digest(folder: Path, progress: Progress) -> str:
    """Returns the SHA-256 of a model's safetensors, in the order of their names, in hexadecimal.

    Args:
        folder: Of a model.
        progress: Called with the bytes that have been read.
    """
    digest, files = hashlib.sha256(), _list_weight_files(folder)
    total, done = sum(file.stat().st_size for file in files), 0
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                done += len(block)
                progress("weights", done, total)
    return digest.hexdigest()


def _list_weight_files(folder: Path) -> list[Path]:
    """Returns the files that transformers loads: one, or those that an index names."""
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    index = json.loads((folder / f"{_WEIGHTS}.index.json").read_text(encoding="utf-8"))
    return [folder / name for name in sorted(set(index["weight_map"].values()))]


def load_weights(folder: Path, name: str, **options: Any) -> PreTrainedModel:
    """Loads a network from a folder, every weight from its files.

    transformers fills weights that the files lack with random numbers and only logs it.

    Args:
        folder: With `config.json` and safetensors.
        name: The folder or base, for messages.
        **options: For `from_pretrained`.

    Raises:
        InputError: A weight is missing, has another shape, or belongs to a layer that the configuration does not have.
        OSError, ValueError, SafetensorError: The files cannot be read.
    """
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    options.setdefault("config", read_config(folder))
    options |= {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    options |= {"ignore_mismatched_sizes": True, "output_loading_info": True}  # both so that they can be reported here
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    network: PreTrainedModel = loaded[0]
    info: dict[str, Any] = loaded[1]
    state = set(network.state_dict())
    missing, unused = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    for key, there, here in sorted(info["mismatched_keys"]):
        what = f"{name}: {key} is {list(there)} in the file, and config.json asks for {list(here)}."
        raise InputError(what, "Get config.json and the weights of one model.")
    if missing:
        hint = "Its files are damaged or of another model: get them again."
        prefix = _find_prefix(missing, unused)
        if prefix:
            hint = f"Its files name them {prefix}{missing[0]} …: save it without the prefix {prefix!r}."
        raise InputError(f"{name} lacks {len(missing)} of {len(state)} weights: {_list_names(missing)}", hint)
    # A weight that differs from one of the network's in a layer's number alone belongs to a layer that is cut off.
    patterns = {_mask_numbers(key) for key in state}
    if cut := [key for key in unused if _mask_numbers(key) in patterns]:
        raise InputError(
            f"{name}: config.json has fewer layers than the weights, for instance {cut[0]}.",
            "Get config.json and the weights of one model.",
        )
    return network


def _find_prefix(missing: list[str], unused: list[str]) -> str:
    """Returns what the files put before the names of weights, for instance `_orig_mod.`; empty if nothing."""
    for key in unused:
        for name in missing:
            if key.endswith(f".{name}"):
                return key.removesuffix(name)
    return ""


def _mask_numbers(key: str) -> str:
    return re.sub(r"\.\d+\.", ".#.", key)


def _list_names(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else ".")
