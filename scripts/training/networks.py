"""The network that all contenders train: of a base, or of a shape with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from lightning_med.model.causal_lm import set_attention_dropout
from lightning_med.model.weight_files import load_weights
from lightning_med.utils.errors import InputError

SHAPES = {"gpt2": (6, 768, 12), "llama": (30, 576, 9)}  # layers, width, heads of distilgpt2 and SmolLM2-135M
_LLAMA_WORDS = 49_152


def make_fields(shape: str, layers: int, width: int, heads: int) -> dict[str, Any]:
    """Returns the fields of a network's configuration; residual and embedding dropout of GPT-2 stay at 0.1.

    Args:
        shape: `gpt2`, or `llama`: three query heads for each of keys and values where that divides, SmolLM2's ratio of
            widths, vocabulary and tied embeddings.
        layers, width, heads: Of the network.
    """
    if shape == "gpt2":
        return {"model_type": "gpt2", "n_layer": layers, "n_embd": width, "n_head": heads}
    return {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 3 if heads % 3 == 0 else heads,
        "intermediate_size": width * 8 // 3,
        "vocab_size": _LLAMA_WORDS,
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }


def save_network(
    folder: Path, base: str | None, fields: dict[str, Any], tokenizer: PreTrainedTokenizerFast, seed: int
) -> dict[str, Any]:
    """Saves the network that all contenders start from, in float32 and without attention dropout.

    Args:
        folder: Where to save it.
        base: A folder with `config.json`; its safetensors are used if there are any, else random weights.
        fields: Of the configuration, where there is no base.
        tokenizer: Whose tokens it must know.
        seed: Of random weights.

    Returns:
        Its family, layers, width, heads, number of weights, and whether they are pretrained.

    Raises:
        InputError: The base has no configuration that transformers reads, or knows fewer tokens than the tokenizer.
    """
    disable_progress_bar()
    config = _read_config(base) if base else _make_config(fields, tokenizer)
    if config.vocab_size < len(tokenizer):
        raise InputError(
            f"--base {base} knows {config.vocab_size} tokens, the tokenizer has {len(tokenizer)}.",
            "Name the base's own tokenizer: --tokenizer DIR",
        )
    set_attention_dropout(config, 0.0)
    pretrained = base is not None and any(Path(base).glob("*.safetensors"))
    torch.manual_seed(seed)
    if base is not None and pretrained:
        network = load_weights(Path(base), base, config=config, dtype=torch.float32)
    else:
        network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    network.save_pretrained(folder)
    return {
        "family": config.model_type,
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "heads": config.num_attention_heads,
        "weights": network.num_parameters(),
        "pretrained": pretrained,
    }


def _read_config(base: str) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"--base {base}: {reason}", "Name a folder with a config.json of transformers.") from error


def _make_config(fields: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> PretrainedConfig:
    end = tokenizer.eos_token_id
    words = max(fields.get("vocab_size", 0), len(tokenizer))
    special = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    return AutoConfig.for_model(**{**fields, "vocab_size": words, **special})
