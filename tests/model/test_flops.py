"""The counted FLOPs are those that torch counts; the measured peak is plausible."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PretrainedConfig

from lightning_med.model.flops import FlopCount, measure_gemm_peak

CONFIGS: list[PretrainedConfig] = [
    GPT2Config(n_layer=3, n_embd=32, n_head=4, n_positions=64, vocab_size=100),
    LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=100,
    ),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_the_count_equals_that_of_torch(config: PretrainedConfig) -> None:
    network = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    ids = torch.randint(0, 100, (1, 40))
    with FlopCounterMode(display=False) as counter:
        network(ids, use_cache=False).logits.sum().backward()
    flops = FlopCount.from_network(network)
    # A plain forward pass computes logits at every position, and attention over the full square, twice what is needed.
    assert counter.get_total_flops() == pytest.approx(flops.count_step(40, 2 * 40**2, 40), rel=0.02)


def test_a_longer_consultation_costs_more_than_two_short_ones() -> None:
    flops = FlopCount.from_network(AutoModelForCausalLM.from_config(CONFIGS[0]))
    assert (
        flops.count_step(40, 40**2, 10) > flops.count_step(40, 2 * 20**2, 10) > flops.count_step(40, 2 * 20**2, 0) > 0
    )


def test_a_peak_is_measured() -> None:
    network = AutoModelForCausalLM.from_config(CONFIGS[0])
    assert 1e6 < measure_gemm_peak(network, torch.device("cpu"), torch.float32) < 1e15
