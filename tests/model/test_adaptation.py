"""Frozen weights, their dtype, gradient checkpointing, and contradictions between them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from lightning_med.model.adaptation import Adaptation
from lightning_med.model.causal_lm import build_from_scratch
from lightning_med.utils.errors import InputError
from tests.model.test_adapter import NETWORKS, build, compute_loss, train


def apply(network: PreTrainedModel, **settings: Any) -> None:
    adaptation = Adaptation.read(settings)
    adaptation.check(build_from_scratch(dict(NETWORKS["llama"]), 120, 0, 0.0, seed=3))
    adaptation.apply(network, seed=1)


def test_frozen_weights_stay_and_others_learn() -> None:
    network = build("llama")
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    apply(network, freeze=["model.layers.0.*", "*embed*"])
    train(network)
    for name, weight in network.named_parameters():
        frozen = name.startswith("model.layers.0.") or "embed" in name
        assert torch.equal(weight, before[name]) == frozen, name


@pytest.mark.parametrize("settings", [{"lora": {"r": 4}}, {"freeze": ["*embed*", "*.mlp.*"]}])
def test_bf16_halves_frozen_matrices_only(settings: dict[str, Any]) -> None:
    network = build("llama")
    apply(network, base_dtype="bf16", **settings)
    dtypes = {(weight.requires_grad, weight.dim() >= 2, weight.dtype) for weight in network.parameters()}
    assert (False, True, torch.bfloat16) in dtypes
    assert not any(dtype == torch.bfloat16 for trained, matrix, dtype in dtypes if trained or not matrix)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = network.base_model(torch.arange(5)[None], output_hidden_states=True).hidden_states
        assert {state.dtype for state in hidden[:-1]} == {torch.float32}  # what every layer adds to


@pytest.mark.parametrize("settings", [{}, {"lora": {"r": 4, "dropout": 0.3}}, {"freeze": ["*embed*"]}])
@pytest.mark.parametrize("name", NETWORKS)
def test_checkpointing_changes_no_gradient(name: str, settings: dict[str, Any]) -> None:
    gradients = []
    for checkpointing in (False, True):
        network = build(name)
        if name == "gpt2" and "freeze" in settings:
            settings = {"freeze": ["*wte*"]}
        Adaptation.read({**settings, "gradient_checkpointing": checkpointing}).apply(network, seed=1)
        for key, weight in network.named_parameters():
            if "lora_B" in key:  # zero at first, which would hide dropout
                weight.data.fill_(0.1)
        network.train()
        torch.manual_seed(2)
        compute_loss(network).backward()
        gradients.append({key: weight.grad for key, weight in network.named_parameters() if weight.requires_grad})
    assert all(torch.equal(value, gradients[1][key]) for key, value in gradients[0].items())


def test_checkpointing_keeps_less() -> None:
    kept = []
    for checkpointing in (False, True):
        network = build("llama").train()
        Adaptation(gradient_checkpointing=checkpointing).apply(network, seed=1)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: (sizes.append(tensor.numel()), tensor)[1], lambda tensor: tensor
        ):
            compute_loss(network)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2


@pytest.mark.parametrize(
    ("settings", "what", "hint"),
    [
        ({"lora": {}, "from_scratch": {"n_layer": 1}}, "lora needs a base", "Leave one"),
        ({"lora": {}, "freeze": ["*"]}, "freeze has no effect", "Leave one"),
        ({"base_dtype": "bf16"}, "all are", "--model.lora"),
        ({"base_dtype": "bf16", "freeze": []}, "all are", "--model.lora"),
        ({"base_dtype": "nf4", "freeze": ["*embed*"]}, "needs an adapter", "--model.lora"),
        ({"base_dtype": "int3", "lora": {}}, "base_dtype is 'int3'", "bf16"),
        ({"freeze": ["model.layer.*"]}, "matches model.layer.*", "layers"),
        ({"freeze": ["*"]}, "no weight is left", "fewer"),
        ({"lora": {"targets": ["c_attn"]}}, "called c_attn", "It has: down_proj"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, Any], what: str, hint: str) -> None:
    with pytest.raises(InputError) as refusal:
        apply(build("llama"), **settings)
    assert what in refusal.value.what
    assert hint in refusal.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_nf4_without_a_gpu_is_refused() -> None:
    with pytest.raises(InputError, match="needs a GPU"):
        apply(build("llama"), lora={"r": 4}, base_dtype="nf4")


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({}, False),
        ({"lora": {"r": 4}}, True),
        ({"lora": {"r": 4, "embeddings": True}}, False),  # the output layer is tied to them
        ({"freeze": ["*embed*"]}, True),
        ({"freeze": ["*.mlp.*"]}, False),
    ],
)
def test_added_tokens_need_embeddings_that_are_trained(settings: dict[str, Any], is_refused: bool) -> None:
    network = build_from_scratch({**NETWORKS["llama"], "tie_word_embeddings": True}, 120, 0, 0.0, seed=3)
    if not is_refused:
        Adaptation.read(settings).check(network, ["<reply>"])
        return
    with pytest.raises(InputError, match="1 added tokens"):
        Adaptation.read(settings).check(network, ["<reply>"])
