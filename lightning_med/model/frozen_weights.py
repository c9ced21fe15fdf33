"""Weights that are not trained: which they are, and the smaller dtype that they may be kept in."""

from __future__ import annotations

import difflib
import fnmatch
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lightning_med.utils.errors import InputError

BFLOAT16, NF4 = "bf16", "nf4"
DTYPES = (BFLOAT16, NF4)  # of the option `base_dtype`
_WORSE = 2.0  # greatest error of hidden states, over that which mixed precision has with float32 weights
_ROUNDING = 1e-2  # relative error that is rounding in any case
_PROBED = 16  # tokens
_FAILURES = (RuntimeError, ValueError, TypeError, NotImplementedError)  # of operations that autocast does not cover


def freeze_weights(network: PreTrainedModel, patterns: list[str]) -> None:
    """Freezes the weights whose names match a pattern.

    Args:
        network: Changed in place; it may be on the device `meta`.
        patterns: Of shell style over the full names, for instance `model.layers.[0-9].*` or `*embed*`.

    Raises:
        InputError: A pattern matches no weight, or no weight is left to be trained.
    """
    weights = dict(network.named_parameters())
    for pattern in patterns:
        matched = [name for name in weights if fnmatch.fnmatchcase(name, pattern)]
        if not matched:
            near = difflib.get_close_matches(pattern, _list_patterns(list(weights)), n=3)
            hint = f"Did you mean {' or '.join(near)}?" if near else _PATTERNS
            raise InputError(f"freeze: no weight of this {network.config.model_type} matches {pattern}.", hint)
        for name in matched:
            weights[name].requires_grad_(False)
    if not any(weight.requires_grad for weight in weights.values()):
        raise InputError("freeze: no weight is left to be trained.", "Freeze fewer: name some layers, not all.")


def _list_patterns(names: list[str]) -> list[str]:
    """Returns patterns that match: every name, every beginning of one, and every part anywhere."""
    patterns = set(names)
    for name in names:
        parts = name.split(".")
        patterns |= {".".join([*parts[:end], "*"]) for end in range(1, len(parts))}
        patterns |= {f"*{part}*" for part in parts if not part.isdigit()} | {f"*.{part}.*" for part in parts}
    return sorted(patterns)


_PATTERNS = "A pattern is a whole name, with * for any part, for instance '*.layers.0.*'."


def check_machine(name: str | None) -> None:
    """Checks that frozen weights can be kept in a dtype on this machine.

    Raises:
        InputError: Its kernels are missing.
    """
    if name != NF4:
        return
    if not torch.cuda.is_available():
        raise InputError(
            "base_dtype nf4 (QLoRA) needs a GPU with CUDA, and there is none here.",
            "Without one: --model.base_dtype bf16, or --model.gradient_checkpointing true",
        )
    if find_spec("bitsandbytes") is None:
        raise InputError("base_dtype nf4 (QLoRA) needs bitsandbytes.", "pip install 'lightning-med[qlora]'")


def store_frozen(network: PreTrainedModel, name: str, device: torch.device) -> None:
    """Keeps the frozen matrices of a network in a smaller dtype, in place.

    Norms and biases stay in float32, and so does what the embeddings give, which every layer adds to.

    Args:
        network: In float32, in the host's memory.
        name: `bf16`; `nf4` quantizes the linear layers of the body (Dettmers et al., 2023, arXiv:2305.14314), keeps
            other matrices in bfloat16, and moves the network to `device`.
        device: Of the training.

    Raises:
        InputError: The network cannot compute with such weights.
    """
    if name == NF4:
        _quantize(network, device)
        _shorten(network)
        network.to(device)  # type: ignore[arg-type]
        return
    exact, mixed = _run_probe(network, mixed=False), _run_probe(network)
    _shorten(network)
    try:
        found = _run_probe(network)
    except _FAILURES as error:
        raise InputError(f"base_dtype {name}: a {network.config.model_type} cannot compute with it.", _OUT) from error
    before, after = ((hidden - exact).norm() / (exact - exact.mean()).norm() for hidden in (mixed, found))
    if not bool(after <= _WORSE * before + _ROUNDING):
        raise InputError(f"base_dtype {name} changes what this {network.config.model_type} computes.", _OUT)


_OUT = "Leave --model.base_dtype out."


def _shorten(network: PreTrainedModel) -> None:
    """Keeps the frozen matrices that are in float32 in bfloat16, and what the embeddings give in float32."""
    for weight in network.parameters():
        if not weight.requires_grad and weight.dim() >= 2 and weight.dtype == torch.float32:
            weight.data = weight.data.to(torch.bfloat16)
        elif weight.dtype == torch.float32:
            weight.data = weight.data.clone()  # of a file that is mapped into memory until its last tensor is gone
    embeddings: Any = network.get_input_embeddings()
    embeddings.register_forward_hook(_to_float32)


def _to_float32(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output.float()


@torch.no_grad()
def _run_probe(network: PreTrainedModel, mixed: bool = True) -> Tensor:
    """Returns the last hidden states of a few tokens, in mixed precision or in float32, as float32."""
    embeddings: Any = network.get_input_embeddings()
    ids = torch.arange(_PROBED, device=network.device)[None] % len(embeddings.weight)
    training = network.training
    network.eval()
    with torch.autocast(network.device.type, torch.bfloat16, enabled=mixed):
        hidden: Tensor = network.base_model(input_ids=ids, use_cache=False).last_hidden_state
    network.train(training)
    return hidden.float()


def _quantize(network: PreTrainedModel, device: torch.device) -> None:
    """Replaces the frozen linear layers of the body, one after another, so that the GPU never holds them in float32."""
    import bitsandbytes

    layers = [
        (parent, name, child)
        for parent in network.base_model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and not child.weight.requires_grad
    ]
    if not layers:
        raise InputError(f"base_dtype nf4: a {network.config.model_type} has no plain linear layer.", _OUT)
    for parent, name, child in layers:
        small = bitsandbytes.nn.Linear4bit(
            child.in_features, child.out_features, child.bias is not None, torch.bfloat16, quant_type=NF4
        )
        small.weight = bitsandbytes.nn.Params4bit(child.weight.data, requires_grad=False, quant_type=NF4)
        small.bias = child.bias
        setattr(parent, name, small.to(device))  # quantizes


def round_frozen(network: PreTrainedModel, name: str | None) -> None:
    """Rounds the frozen matrices to the values that `store_frozen` trained with, and leaves them in float32.

    Weights that were quantized to four bits are left as they are: an adapter is merged into its base.
    """
    for weight in network.parameters():
        if name == BFLOAT16 and not weight.requires_grad and weight.dim() >= 2:
            weight.data = weight.data.to(torch.bfloat16).float()
