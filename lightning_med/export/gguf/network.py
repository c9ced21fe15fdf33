"""The network of a GGUF file: which settings llama.cpp needs, and what its tensors are made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_med.utils.errors import InputError

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PretrainedConfig, PreTrainedModel

ARCHITECTURES = {"gpt2": "gpt2", "llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_REQUIRED: dict[str, dict[str, tuple[Any, ...]]] = {  # what llama.cpp computes, whatever the configuration says
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
    "llama": {"hidden_act": ("silu", "swish")},
    "qwen2": {"hidden_act": ("silu", "swish")},
    "qwen3": {"hidden_act": ("silu", "swish"), "attention_bias": (False,)},
}
_TRANSPOSED = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")  # GPT-2 keeps them as [in, out]
_HINT = "Export it as --format hf, which any base can be."


def choose_architecture(config: PretrainedConfig) -> str:
    """Returns the architecture of GGUF that computes what a network computes.

    Raises:
        InputError: There is none, or a setting of the network is not part of it.
    """
    kind = ARCHITECTURES.get(config.model_type)
    if kind is None:
        families = ", ".join(ARCHITECTURES)
        raise InputError(f"--format gguf writes {families}, not {config.model_type}.", _HINT)
    settings = {name: (getattr(config, name, allowed[0]), allowed) for name, allowed in _REQUIRED[kind].items()}
    wrong = [f"{name} {value}" for name, (value, allowed) in settings.items() if value not in allowed]
    window = getattr(config, "sliding_window", None)
    if window is not None and window < config.max_position_embeddings:
        wrong.append(f"sliding_window {window}")
    rope = getattr(config, "rope_parameters", None) or {}
    if (scaling := rope.get("rope_type", "default")) not in ("default", "linear", "llama3"):
        wrong.append(f"rope_type {scaling}")
    if (rotated := rope.get("partial_rotary_factor", 1.0)) not in (None, 1.0):
        wrong.append(f"partial_rotary_factor {rotated}")
    if wrong:
        raise InputError(f"--format gguf: llama.cpp's {kind} does not have {', '.join(wrong)}.", _HINT)
    return kind


def add_network_settings(writer: GGUFWriter, config: PretrainedConfig, rows: int) -> None:
    """Adds the network's sizes and the constants of its arithmetic.

    Args:
        writer: Of the file.
        config: Of the network; `choose_architecture` has accepted it.
        rows: Of the embeddings.
    """
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(rows)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_head_count_kv(config.num_key_value_heads)
    width = _get_head_width(config)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope.get("rope_type") == "linear":
        from gguf import RopeScalingType

        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def map_names(network: PreTrainedModel) -> dict[str, str]:
    """Returns the names in GGUF of a network's weights by their own; a head tied to the embeddings is left out.

    Raises:
        InputError: llama.cpp's network has no such weight.
    """
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    config: Any = network.config
    kind = ARCHITECTURES[config.model_type]
    architecture = next(key for key, name in MODEL_ARCH_NAMES.items() if name == kind)
    known = get_tensor_name_map(architecture, config.num_hidden_layers)
    embeddings: Any = network.get_input_embeddings()
    names = {}
    for key, weight in network.state_dict().items():
        if key == "lm_head.weight" and weight.data_ptr() == embeddings.weight.data_ptr():
            continue
        name = known.get_name(key, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise InputError(f"--format gguf: llama.cpp's {kind} has no counterpart of {key}.", _HINT)
        names[key] = name
    return names


def list_tensors(network: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors of a network by their names in GGUF, in the layout of llama.cpp.

    Matrices are `[out, in]`. Llama's rotary positions turn neighbouring dimensions of a head there, transformers' those
    half a head apart, so rows of queries and keys are reordered (as `permute` in llama.cpp's converter).

    Raises:
        InputError: See `map_names`.
    """
    config: Any = network.config
    kind = ARCHITECTURES[config.model_type]
    weights = network.state_dict()
    for key, name in map_names(network).items():
        weight = weights[key]
        if kind == "gpt2" and key.endswith(_TRANSPOSED):
            weight = weight.T
        if kind == "llama" and ".self_attn.q_proj." in key:
            weight = _interleave(weight, config.num_attention_heads)
        if kind == "llama" and ".self_attn.k_proj." in key:
            weight = _interleave(weight, config.num_key_value_heads)
        yield name, weight
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "llama3":
        yield "rope_freqs.weight", _compute_llama3_factors(rope, _get_head_width(config))


def _get_head_width(config: PretrainedConfig) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _interleave(weight: Tensor, heads: int) -> Tensor:
    """Moves dimension `i` of the second half of each head behind dimension `i` of the first."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def _compute_llama3_factors(rope: dict[str, Any], width: int) -> Tensor:
    """Returns what the wavelengths of Llama 3.1 are longer by, `[width / 2]`, float32."""
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    frequencies = rope["rope_theta"] ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    turns = rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)  # in the context of the pretraining
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).float()
