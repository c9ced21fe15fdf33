"""Tiny models of several families and tokenizers for the tests of exports, without a training."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from lightning_med.export.exported_tokenizer import make_exported_tokenizer
from lightning_med.export.trained_model import TrainedModel
from lightning_med.inference.decoding import Decoding
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompt_choice import choose_prompt
from lightning_med.tokenization.tokenizer import add_tokens, store_tokenizer
from scripts.bases.tokenizers import load_base
from tests import tiny

LLAMA = {**tiny.LLAMA, "hidden_size": 64, "head_dim": 16, "tie_word_embeddings": True}
GPT2 = {**tiny.NETWORK, "n_embd": 48, "n_head": 3}  # an odd number of heads
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {  # family, fields, tokenizer
    "gpt2": ("gpt2", GPT2, "plain_gpt2_bos"),
    "gpt2, untied": ("gpt2", {**GPT2, "tie_word_embeddings": False}, "smollm2"),
    "llama": ("llama", LLAMA, "smollm2"),
    "llama, untied": ("llama", {**LLAMA, "tie_word_embeddings": False}, "llama3"),
    "llama, biases": ("llama", {**LLAMA, "attention_bias": True, "mlp_bias": True}, "smollm2"),
    "llama, base 5,000": (
        "llama",
        {**LLAMA, "rope_parameters": {"rope_type": "default", "rope_theta": 5e3}},
        "smollm2",
    ),
    "llama, positions of Llama 3": ("llama", {**LLAMA, "rope_parameters": LLAMA3_ROPE}, "llama3"),
    "llama, positions four times slower": (
        "llama",
        {**LLAMA, "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
        "smollm2",
    ),
    "llama, whole words": ("llama", LLAMA, "llama3 whole"),  # as Llama 3's own: a word that is a token is not merged
    "mistral": ("mistral", {**LLAMA, "sliding_window": None}, "smollm2"),
    "qwen2": ("qwen2", LLAMA, "qwen2"),
    "qwen3": ("qwen3", {**LLAMA, "head_dim": 32}, "qwen3"),
}


def make_model(
    family: str, fields: dict[str, Any], tokenizer: str, padding: int = 3, words: tuple[str, ...] = ()
) -> TrainedModel:
    """Returns a model with random weights.

    Args:
        family: `model_type` of its configuration.
        fields: Of its configuration.
        tokenizer: One of `scripts.bases.tokenizers.BASES`; with ` whole`, words that are tokens are taken whole.
        padding: Rows of the embeddings that no token has.
        words: Tokens that are added.
    """
    name, _, whole = tokenizer.partition(" ")
    stored = add_tokens(store_tokenizer(load_base(name)), words)
    if whole:
        backend = json.loads(json.loads(stored)["tokenizer"])
        backend["model"]["ignore_merges"] = True
        stored = json.dumps({**json.loads(stored), "tokenizer": json.dumps(backend)})
    prompt = choose_prompt(None, tiny.SYSTEM, stored, words)
    exported = make_exported_tokenizer(stored, prompt)
    rows = max(exported.get_vocab().values()) + 1 + padding
    tokens = {"vocab_size": rows, "bos_token_id": None, "eos_token_id": exported.eos_token_id, "pad_token_id": None}
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(CONFIG_MAPPING[family](**{**tokens, **fields}), dtype=torch.float32)
    with torch.no_grad():
        for weight in network.parameters():  # norms and biases, too, differ from 1 and 0
            weight += 0.1 * torch.randn_like(weight)
    exported.model_max_length = tiny.LLAMA["max_position_embeddings"]
    stops = Encoder(exported, prompt, 128).stops
    card = {"max_length": 128, "settings": {}, "data": {"fingerprint": "made"}}
    return TrainedModel(
        network.eval(), exported, prompt, Decoding(max_new_tokens=8), stops, exported.model_max_length, card, 1
    )


@cache
def find_python(module: str, variable: str) -> str | None:
    """Returns an interpreter that has a module: this one, or that which a variable of the environment names."""
    if os.environ.get(variable):
        return os.environ[variable]
    return sys.executable if importlib.util.find_spec(module) else None


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
