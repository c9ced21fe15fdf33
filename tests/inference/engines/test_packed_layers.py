"""Layers whose weights are packed for generation give what they gave before, to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from lightning_med.inference.engines.packed_layers import PackedLinear, pack_linear_layers
from lightning_med.inference.engines.slot_attention import SLOT_ATTENTION

SIZES = {
    "vocab_size": 97,
    "max_position_embeddings": 64,
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
}
CONFIGS = {
    "gpt2": GPT2Config(vocab_size=97, n_positions=64, n_layer=2, n_embd=64, n_head=4, attn_implementation="sdpa"),
    "llama": LlamaConfig(**SIZES, num_key_value_heads=2, intermediate_size=96, attn_implementation="sdpa"),
    "llama_bias": LlamaConfig(**SIZES, attention_bias=True, intermediate_size=96, attn_implementation="sdpa"),
}


def build(name: str) -> Any:
    torch.manual_seed(5)
    network: Any = (GPT2LMHeadModel if name == "gpt2" else LlamaForCausalLM)(CONFIGS[name])
    for parameter in network.parameters():  # biases too
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval().to(torch.bfloat16)


@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_packed_layers_and_doubled_queries_change_no_bit(name: str) -> None:
    network, ids = build(name), torch.arange(24).view(2, 12)
    before = network(ids, use_cache=True)
    last = network(ids[:, :1], past_key_values=before.past_key_values, use_cache=True).logits
    if not pack_linear_layers(network):
        pytest.skip("torch has no packed layers for this processor")
    network.set_attn_implementation(SLOT_ATTENTION)
    assert any(isinstance(module, PackedLinear) for module in network.modules())
    assert not any(type(module) is torch.nn.Linear for module in network.modules())
    after = network(ids, use_cache=True)
    assert torch.equal(after.logits, before.logits)
    again = network(ids[:, :1], past_key_values=after.past_key_values, use_cache=True).logits
    assert torch.equal(again, last)


def test_other_types_are_left_as_they_are() -> None:
    network = build("llama").float()
    assert not pack_linear_layers(network)
    assert any(type(module) is torch.nn.Linear for module in network.modules())
