"""Lean layers compute what transformers computes, in value and gradients, and keep less for the backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from lightning_med.model.lean_layers import LeanGatedUnit, LeanRMSNorm, replace_lean_layers

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 60, "head_dim": 8, "pad_token_id": None, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip


def build(model_type: str, **fields: Any) -> Any:
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **SIZES, **fields))
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return network


def make_pair(kind: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A layer of transformers and its replacement, which share their weights."""
    config = AutoConfig.for_model("llama", **SIZES)
    layer = LlamaRMSNorm(32, 1e-5) if kind == "norm" else LlamaMLP(config)
    with torch.no_grad():
        for weight in layer.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return layer, LeanRMSNorm(layer.weight, 1e-5) if kind == "norm" else LeanGatedUnit(layer)


def run(layer: torch.nn.Module, bf16: bool) -> list[torch.Tensor]:
    """Output, gradient of the input, and gradients of the weights."""
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(1, 9, 32, generator=generator).requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = layer(hidden)
    output.backward(torch.randn(output.shape, generator=generator).to(output.dtype))
    gradients = [weight.grad.clone() for weight in layer.parameters() if weight.grad is not None]
    assert hidden.grad is not None
    return [output.detach().float(), hidden.grad, *gradients]


@pytest.mark.parametrize("kind", ["norm", "gated unit"])
@pytest.mark.parametrize(("bf16", "bound"), [(False, 1e-6), (True, 1e-2)])
def test_value_and_gradients_equal_those_of_transformers(kind: str, bf16: bool, bound: float) -> None:
    layer, lean = make_pair(kind)
    for theirs, ours in zip(run(layer, bf16), run(lean, bf16), strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < bound


def count_kept(network: torch.nn.Module) -> int:
    """Bytes that the forward pass keeps for the backward pass, weights left out."""
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    sizes: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        network(torch.arange(50)[None], use_cache=False)
    return sum(sizes.values())


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3", "mistral"])
def test_a_network_keeps_less_and_its_names(model_type: str) -> None:
    network = build(model_type)
    names, before = list(network.state_dict()), count_kept(network)
    expected = network(torch.arange(50)[None]).logits
    replace_lean_layers(network)
    assert list(network.state_dict()) == names
    assert sum(isinstance(module, LeanRMSNorm) for module in network.modules()) == 4
    assert sum(isinstance(module, LeanGatedUnit) for module in network.modules()) == 2
    torch.testing.assert_close(network(torch.arange(50)[None]).logits, expected, atol=1e-5, rtol=1e-5)
    assert count_kept(network) < 0.85 * before


@pytest.mark.parametrize("model_type", ["gemma2", "olmo2", "mixtral", "glm4"])
def test_layers_that_compute_something_else_stay(model_type: str) -> None:
    network = build(model_type)
    replace_lean_layers(network)
    assert not any(isinstance(module, LeanRMSNorm) for module in network.modules())
