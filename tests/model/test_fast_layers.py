"""The fast layers compute what the layers of transformers compute; dropout has the right probability."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from lightning_med.model.fast_layers import FastDropout, replace_layers


def small() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_embd=32, n_head=4, n_positions=64, vocab_size=100, initializer_range=0.2)
    return GPT2LMHeadModel(config)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.93])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_share_dropped_and_scale_of_the_rest(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    output = FastDropout(p)(torch.ones(1000, 1000, dtype=dtype))
    share = float((output == 0).double().mean())
    assert abs(share - p) < 5 * (p * (1 - p) / 1e6) ** 0.5  # five standard deviations
    (value,) = output[output != 0].unique().tolist()
    assert value == pytest.approx(1 / (1 - p), rel=1e-3 if dtype == torch.float32 else 1e-2)


def test_elements_drop_independently() -> None:
    """Four neighbours share one draw of 64 bits: their decisions must be uncorrelated."""
    torch.manual_seed(2)
    dropped = (FastDropout(0.5)(torch.ones(4_000_000)) == 0).double().view(-1, 4)
    agreement = torch.corrcoef(dropped.T)
    assert float((agreement - torch.eye(4)).abs().max()) < 0.005
    assert abs(float(torch.corrcoef(torch.stack([dropped[:-1, 3], dropped[1:, 0]]))[0, 1])) < 0.005


def test_the_gradient_is_dropped_and_scaled_alike() -> None:
    values = torch.randn(50, 7, requires_grad=True)
    output = FastDropout(0.3)(values)
    output.backward(torch.full_like(output, 2.0))
    assert values.grad is not None
    assert torch.allclose(values.grad * values, 2 * output)


def test_torchs_seed_decides() -> None:
    layer, values, masks = FastDropout(0.4), torch.ones(999), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        masks.append(layer(values) == 0)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(layer(values) == 0, layer(values) == 0)


@pytest.mark.parametrize("p", [0.0, 1e-9, 1.0])
def test_ends_of_the_range(p: float) -> None:
    values = torch.randn(100)
    assert torch.equal(FastDropout(p)(values), torch.zeros(100) if p == 1 else values)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_any_shape(shape: list[int]) -> None:
    assert FastDropout(0.5)(torch.ones(shape)).shape == torch.Size(shape)


def test_nothing_drops_in_evaluation() -> None:
    values = torch.randn(100)
    assert torch.equal(FastDropout(0.5).eval()(values), values)


def test_a_quickened_network_is_the_same_network() -> None:
    plain, quick = small().eval(), replace_layers(small()).eval()
    ids = torch.randint(0, 100, (2, 40))
    assert list(plain.state_dict()) == list(quick.state_dict())
    assert torch.allclose(plain(ids).logits, quick(ids).logits, rtol=1e-5, atol=1e-5)
    kinds = [type(module) for module in quick.modules()]
    assert nn.Dropout not in kinds
    assert kinds.count(nn.GELU) == 2
    assert not any(isinstance(module, nn.Dropout) and module.p != 0.1 for module in quick.modules())
    assert quick.config.to_dict() == plain.config.to_dict()
