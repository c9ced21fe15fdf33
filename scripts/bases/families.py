"""Tiny random bases, one for each family of models and for each way in which a base can be unusable."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSeq2SeqLM

WINDOW = 16  # tokens, of sliding windows
CONTEXT = 192  # tokens
_SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_LLAMA = {**_SIZES, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT}
_GPT = {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_positions": CONTEXT}
_GEMMA = {**_LLAMA, "head_dim": 8, "sliding_window": WINDOW}


@dataclass(frozen=True)
class Family:
    """A base.

    Attributes:
        name: In the table.
        model_type: Of its configuration in transformers.
        fields: Of its configuration.
        expected: `flat`, `padded` or `refused`.
        change: Changes the saved folder.
    """

    name: str
    model_type: str
    fields: dict[str, Any] = field(default_factory=dict)
    expected: str = "flat"
    change: Callable[[Path], None] | None = None

    def save(self, folder: Path, vocabulary: int) -> None:
        """Writes the base to a folder, with random weights and without a tokenizer.

        Args:
            folder: Empty.
            vocabulary: Number of its tokens.
        """
        tokens = {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
        config = CONFIG_MAPPING[self.model_type](**{**tokens, **self.fields})
        torch.manual_seed(0)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        network = kind.from_config(config)
        with torch.no_grad():
            for weight in network.parameters():  # norms and biases, too, differ from 1 and 0
                weight += 0.1 * torch.randn_like(weight)
        network.save_pretrained(folder)
        if self.change is not None:
            self.change(folder)


def _edit_config(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return change


def _cast_weights(folder: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    network.save_pretrained(folder)


def _prefix_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file({f"_orig_mod.{name}": weight for name, weight in load_file(path).items()}, path, {"format": "pt"})


def _drop_weight(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, path, {"format": "pt"})


def _leave_pointer(folder: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 538090408\n"
    (folder / "model.safetensors").write_text(pointer)


FAMILIES = (
    Family("GPT-2", "gpt2", _GPT),
    Family("GPT-Neo", "gpt_neo", {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]],
        "window_size": WINDOW, "max_position_embeddings": CONTEXT,
    }, "padded"),
    Family("GPT-NeoX (Pythia)", "gpt_neox", {**_SIZES, "max_position_embeddings": CONTEXT}),
    Family("GPT-J", "gptj", {**_GPT, "rotary_dim": 8}, "padded"),
    Family("OPT", "opt", {
        "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
    }),
    Family("BLOOM", "bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}, "padded"),
    Family("MPT", "mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": CONTEXT}, "padded"),
    Family("Falcon", "falcon", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}, "padded"),
    Family("Llama, tied head (SmolLM2)", "llama", {**_LLAMA, "tie_word_embeddings": True}),
    Family("Llama, untied head (TinyLlama)", "llama", {**_LLAMA, "tie_word_embeddings": False}),
    Family("Llama, weights in bfloat16", "llama", _LLAMA, change=_cast_weights),
    Family("Mistral (sliding window)", "mistral", {**_LLAMA, "sliding_window": WINDOW}),
    Family("Mixtral (experts)", "mixtral", {**_LLAMA, "num_local_experts": 4}),
    Family("Qwen2", "qwen2", _LLAMA),
    Family("Qwen3", "qwen3", {**_LLAMA, "head_dim": 8}),
    Family("Gemma 2 (window, soft caps)", "gemma2", {**_GEMMA, "query_pre_attn_scalar": 8}),
    Family("Gemma 3 (window)", "gemma3_text", {**_GEMMA, "layer_types": ["sliding_attention", "full_attention"]}),
    Family("Phi-2 (bias in the head)", "phi", {**_LLAMA, "num_key_value_heads": 4}),
    Family("Phi-3 (sliding window)", "phi3", {**_LLAMA, "sliding_window": WINDOW}),
    Family("Granite (logit scale)", "granite", {
        **_LLAMA, "logits_scaling": 8.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22,
        "attention_multiplier": 0.1,
    }),
    Family("Cohere (logit scale)", "cohere", {**_LLAMA, "logit_scale": 0.0625}),
    Family("gpt-oss (sinks, window, experts)", "gpt_oss", {
        **_GEMMA, "num_local_experts": 4, "layer_types": ["sliding_attention", "full_attention"],
    }, "padded"),
    Family("Mamba (recurrent)", "mamba", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}, "padded"),
    Family("LFM2 (convolutions)", "lfm2", {**_LLAMA, "layer_types": ["conv", "full_attention"]}, "padded"),
    Family("BERT (sees later tokens)", "bert", {**_SIZES, "max_position_embeddings": CONTEXT}, "refused"),
    Family("T5 (encoder-decoder)", "t5", {
        "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0,
    }, "refused"),
    Family("BART (encoder-decoder)", "bart", {
        "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "forced_eos_token_id": None,
    }, "refused"),
    Family("Llama, quantized", "llama", _LLAMA, "refused", _edit_config(quantization_config={"quant_method": "gptq"})),
    Family("Llama, fewer layers in config.json", "llama", _LLAMA, "refused", _edit_config(num_hidden_layers=1)),
    Family("Llama, more layers in config.json", "llama", _LLAMA, "refused", _edit_config(num_hidden_layers=3)),
    Family("Llama, a weight missing", "llama", _LLAMA, "refused", _drop_weight),
    Family("Llama, weights named _orig_mod.…", "llama", _LLAMA, "refused", _prefix_weights),
    Family("Llama, a Git LFS pointer", "llama", _LLAMA, "refused", _leave_pointer),
)  # fmt: skip
