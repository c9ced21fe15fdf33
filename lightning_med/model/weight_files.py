"""Loads the weights of a folder and refuses those that are incomplete, of another shape, or quantized."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from lightning_med.utils.console import Progress, say
from lightning_med.utils.errors import InputError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

_WEIGHTS = "model.safetensors"
_PICKLES = ("bin", "pt", "pth", "ckpt")  # endings of weights in Python's pickles
_BLOCK = 1 << 24  # bytes read at once
_SHOWN = 3  # names of weights in a message
_ONE_MODEL = "Get config.json and the weights of one model."
# Weights whose names show what they are, and what to do about them.
_KINDS = {
    r"(^|\.)(lora_\w+|base_layer|modules_to_save|original_module)(\.|$)": (
        "An adapter is not merged into it: save what PEFT's model.merge_and_unload() returns."
    ),
    r"(^|\.)(qweight|qzeros|g_idx|scales|absmax|quant_map|quant_state|SCB|\w+_quantizer"
    r"|\w+_(scale|scale_inv|zero_point|packed|qdata))(\.|$)": (
        "They are quantized: name the base in full precision that they were made from."
    ),
    r"^(score|classifier|qa_outputs|classification_head)\.": (
        "They are of a classifier: name the language model that it was made from."
    ),
}
# Masks and tables that earlier versions of transformers stored; they are computed from config.json.
_BUFFER = re.compile(
    r"(^|\.)((attn|attention|self_attn)\.bias|masked_bias|causal_mask|inv_freq|position_ids|embed_positions"
    r"|(cos|sin)_cached)$"
)
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


def check_files(folder: Path, name: str) -> None:
    """Refuses a folder without weights in safetensors, and one of an adapter.

    Args:
        folder: Of a base.
        name: The base, for the message.

    Raises:
        InputError: The folder holds no base.
    """
    if (folder / "adapter_config.json").is_file():
        what = f"{name} is an adapter, not a base."
        raise InputError(what, "Merge it into its base: save what PEFT's model.merge_and_unload() returns.")
    if not (folder / "config.json").is_file() or _has_weights(folder):
        return
    others = sorted(file.name for ending in _PICKLES for file in folder.glob(f"*.{ending}"))
    hint = "Name a base with model.safetensors."
    if any(name.startswith("pytorch_model") and name.endswith(".bin") for name in others):  # what transformers reads
        convert = f"M.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
        command = shlex.join(["python", "-c", f"from transformers import AutoModelForCausalLM as M; {convert}"])
        hint = f"Convert it, if you trust who made it: {command}"
    only = f", only {others[0]}, a pickle, which may hold code." if others else "."
    raise InputError(f"{name} has no weights in safetensors{only}", hint)


def _has_weights(folder: Path) -> bool:
    """Returns whether a folder has the files by the names that transformers looks for."""
    return (folder / _WEIGHTS).is_file() or (folder / f"{_WEIGHTS}.index.json").is_file()


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


def count_parameters(folder: Path) -> int:
    """Returns the number of weights in a model's files; tied ones count once."""
    from safetensors import safe_open

    count = 0
    for path in _list_weight_files(folder):
        with safe_open(path, "pt") as file:
            count += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return count


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
        InputError: A weight is missing, has another shape, or belongs to a layer that the configuration does not have;
            or the files are of an adapter, a classifier, or quantized.
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
    for key, there, here in sorted(info["mismatched_keys"])[:1]:
        more = [other for other, *_ in sorted(info["mismatched_keys"])[1:]]
        raise InputError(
            f"{name}: {key} is {list(there)} in the file, and config.json asks for {list(here)}"
            + (f"; {len(more)} more differ: {_list_names(more)}" if more else "."),
            _ONE_MODEL,
        )
    unused = sorted(key for key in info["unexpected_keys"] if not _BUFFER.search(key))
    if info["missing_keys"]:
        raise _explain_missing(network, sorted(info["missing_keys"]), unused, folder, name)
    _check_unused(network, unused, name)
    _keep_own_head(network)
    return network


def _explain_missing(
    network: PreTrainedModel, missing: list[str], unused: list[str], folder: Path, name: str
) -> InputError:
    """Returns the error for weights that the files lack, with a way out where their names show one."""
    what = f"{name} lacks {len(missing)} of {len(network.state_dict())} weights: {_list_names(missing)}"
    if unused:
        what = f"{what.removesuffix('.')}; its files have {len(unused)} others: {_list_names(unused)}"
    hint = "Its files are damaged or of another model: get them again."
    if reason := _find_kind(unused):
        hint = reason
    elif prefix := _find_prefix(missing, unused, network.base_model_prefix):
        source, target = (name, f"{name.rstrip('/')}-stripped") if Path(name).is_dir() else (str(folder), "stripped")
        hint = (
            f"Strip the prefix: {shlex.join(['python', 'scripts/strip_prefix.py', source, target, '--prefix', prefix])}"
        )
    return InputError(what, hint)


def _find_prefix(missing: list[str], unused: list[str], own: str) -> str:
    """Returns what the files put before the names of most weights, or into them (`_orig_mod.`); empty if nothing.

    Args:
        missing, unused: Names of weights.
        own: The prefix that files may leave out, for instance `transformer`.
    """
    wanted = {*missing, *(name.removeprefix(f"{own}.") for name in missing)}
    found: Counter[str] = Counter()
    for key in unused:
        parts = key.split(".")
        for at in range(1, len(parts)):
            found[".".join(parts[:at]) + "."] += ".".join(parts[at:]) in wanted
        for part in {part for part in parts[1:] if part.startswith("_")}:
            found[f"{part}."] += ".".join(other for other in parts if other != part) in wanted
    best = max(found, key=lambda prefix: (found[prefix], -len(prefix)), default="")
    return best if found[best] else ""


def _check_unused(network: PreTrainedModel, unused: list[str], name: str) -> None:
    """Refuses weights that the network does not use but should, and says which others it does not use.

    Raises:
        InputError: They are of an adapter or quantized, of a layer that is cut off, or belong inside a layer.
    """
    if reason := _find_kind(unused):
        raise InputError(f"{name}: its files have weights that its network does not use: {_list_names(unused)}", reason)
    # A weight that differs from one of the network's in a layer's number alone belongs to a layer that is cut off.
    patterns = {_mask_numbers(key) for key in network.state_dict()}
    own = f"{network.base_model_prefix}."
    if cut := [key for key in unused if {_mask_numbers(key), own + _mask_numbers(key)} & patterns]:
        raise InputError(f"{name}: config.json has fewer layers than the weights, for instance {cut[0]}.", _ONE_MODEL)
    modules = dict(network.named_modules())
    if inside := [key for key in unused if _is_inside(key, modules) or _is_inside(own + key, modules)]:
        raise InputError(
            f"{name}: its layers have weights that config.json does not ask for: {_list_names(inside)}",
            _ONE_MODEL,
        )
    if unused:
        say(f"{name}: its files have weights that are not used: {_list_names(unused)}")


def _find_kind(names: list[str]) -> str:
    """Returns what to do about weights whose names show that they are no language model's; empty if none does."""
    return next((hint for pattern, hint in _KINDS.items() if any(re.search(pattern, name) for name in names)), "")


def _is_inside(key: str, modules: dict[str, nn.Module]) -> bool:
    """Returns whether a weight belongs into a numbered layer of the network, or into a module with weights."""
    owner = key
    while owner not in modules:
        owner = owner.rpartition(".")[0]
    return bool(re.search(r"\.\d+(\.|$)", owner)) or any(True for _ in modules[owner].parameters(recurse=False))


def _keep_own_head(network: PreTrainedModel) -> None:
    """Notes it in the configuration where the files have an output layer of their own although that says it is tied.

    transformers uses both then.
    """
    head: Any = network.get_output_embeddings()
    embeddings: Any = network.get_input_embeddings()
    if head is not None and head.weight is not embeddings.weight:
        network.config.tie_word_embeddings = False


def _mask_numbers(key: str) -> str:
    return re.sub(r"\.\d+\.", ".#.", f".{key}")[1:]


def _list_names(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else ".")
