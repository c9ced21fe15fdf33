"""Adapters change nothing at first, learn alone, switch off, merge exactly, and come back from a checkpoint's entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from lightning_med.model.adaptation import Adaptation, AdapterOrigin
from lightning_med.model.adapter import Adapter, LoraSettings
from lightning_med.model.causal_lm import build_from_scratch, compute_nll, load_base
from lightning_med.model.execution import choose_execution
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.model.flat_batches import make_flat_batch

GPT2 = {"n_layer": 2, "n_embd": 32, "n_head": 2, "resid_pdrop": 0.1, "embd_pdrop": 0.1}
NETWORKS: dict[str, dict[str, Any]] = {"gpt2": GPT2, "llama": {"model_type": "llama", **tiny.LLAMA}}
KINDS: dict[str, dict[str, Any]] = {"lora": {}, "rslora": {"rslora": True}, "dora": {"dora": True}}


def build(name: str) -> PreTrainedModel:
    network = build_from_scratch(dict(NETWORKS[name]), 120, 0, 0.0, seed=3)
    choose_execution(network.eval(), 40)
    return network


def make_batch() -> dict[str, Any]:
    rows = [torch.arange(3, 20), torch.arange(40, 55)]
    return make_flat_batch(rows, torch.tensor([*range(6, 17), *range(21, 32)]))


def compute_loss(network: PreTrainedModel) -> Tensor:
    return compute_nll(network, make_batch())[0]


def train(network: PreTrainedModel, steps: int = 3) -> None:
    optimizer = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        compute_loss(network).backward()
        optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_an_adapter_learns_alone_switches_off_and_merges(name: str, kind: str) -> None:
    network = build(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    untrained = compute_loss(network).item()
    adapter = Adapter(network, LoraSettings.read({"r": 4, **KINDS[kind]}), seed=1)
    assert compute_loss(network).item() == pytest.approx(untrained, rel=1e-6)
    train(network)
    trained = compute_loss(network).item()
    assert trained < untrained - 0.1
    for key, value in before.items():  # the base is as it was, under a name that peft gave it
        assert torch.equal(network.state_dict()[_find(network, key)], value)
    with adapter.disable(), torch.inference_mode():
        assert compute_loss(network).item() == pytest.approx(untrained, rel=1e-6)
    assert compute_loss(network).item() == trained
    assert adapter.names  # switched on again, they are trained on
    merged = adapter.merge()
    assert merged.state_dict().keys() == before.keys()
    assert compute_loss(merged).item() == pytest.approx(trained, rel=1e-5)


def _find(network: PreTrainedModel, name: str) -> str:
    adapted = ".base_layer.".join(name.rsplit(".", 1))
    return adapted if adapted in network.state_dict() else name


def test_scale_and_rank_are_what_the_settings_say() -> None:
    for given, scale in (({"r": 4}, 2), ({"r": 4, "alpha": 4}, 1), ({"r": 16, "alpha": 8, "rslora": True}, 2)):
        network = build("llama")
        Adapter(network, LoraSettings.read(given), seed=1)
        layer: Any = network.get_submodule("model.layers.0.self_attn.q_proj")
        assert layer.scaling["default"] == scale
        assert layer.lora_A["default"].weight.shape[0] == given["r"]


def test_targets_are_the_layers_that_are_named() -> None:
    adapter = Adapter(build("llama"), LoraSettings.read({"targets": ["q_proj", "layers.1.mlp.up_proj"]}), seed=1)
    layers = {name.partition(".lora_")[0] for name in adapter.names}
    assert layers == {
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.mlp.up_proj",
    }


@pytest.mark.parametrize("tied", [True, False])
def test_embeddings_and_head_are_trained_in_full_and_switch_off(tied: bool) -> None:
    network = build_from_scratch({**NETWORKS["llama"], "tie_word_embeddings": tied}, 120, 0, 0.0, seed=3)
    untrained = compute_loss(network.eval()).item()
    adapter = Adapter(network, LoraSettings.read({"embeddings": True, "head": True}), seed=1)
    whole = {"model.embed_tokens.weight"} | (set() if tied else {"lm_head.weight"})
    assert whole == {name for name in adapter.names if "lora" not in name}
    adapter.keep_untrained()
    before = network.get_output_embeddings().weight.clone()
    train(network)
    trained = compute_loss(network).item()
    assert not torch.equal(network.get_output_embeddings().weight, before)
    with adapter.disable(), torch.inference_mode():
        assert compute_loss(network).item() == pytest.approx(untrained, rel=1e-6)
    assert compute_loss(network).item() == trained


def test_first_weights_depend_on_the_seed_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(5)
        states.append(Adapter(build("llama"), LoraSettings.read({}), seed).get_state())
        assert torch.equal(torch.rand(3), expected)
    first = "model.layers.0.self_attn.q_proj.lora_A.default.weight"
    assert torch.equal(states[0][first], states[1][first])
    assert not torch.equal(states[0][first], states[2][first])


@pytest.mark.parametrize(
    ("given", "what", "hint"),
    [
        ({"targets": ["q_prj"]}, "called q_prj", "Did you mean q_proj"),
        ({"targets": ["lm_head"]}, "lm_head is the output layer", "--model.lora.head true"),
        ({"rank": 4}, "no setting rank", "It has: r, alpha"),
        ({"r": 0}, "r is 0", "at least 1"),
        ({"r": 4.5}, "r is 4.5", "{r: 16"),
        ({"r": True}, "r is True", "{r: 16"),
        ({"alpha": 0}, "alpha is 0", "above 0"),
        ({"dropout": 1.0}, "dropout is 1.0", "0.99"),
        ({"dora": "yes"}, "dora is 'yes'", "{r: 16"),
        ({"targets": []}, "targets is []", "q_proj"),
        ({"targets": "q_proj"}, "targets is 'q_proj'", "{r: 16"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, Any], what: str, hint: str) -> None:
    with pytest.raises(InputError) as refusal:
        Adapter(build("llama"), LoraSettings.read(given), seed=1)
    assert what in refusal.value.what
    assert hint in refusal.value.hint


def test_a_layer_that_the_network_never_calls_is_refused() -> None:
    network = build("llama")
    network.base_model.unused = torch.nn.Linear(8, 8)
    with pytest.raises(InputError, match="does not call its layers unused"):
        Adapter(network, LoraSettings.read({}), seed=1)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    build("llama").save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def adapt(base: Path, lora: dict[str, Any], dtype: str | None = None) -> tuple[Adapter, AdapterOrigin]:
    adaptation = Adaptation.read({"lora": lora, "base_dtype": dtype})
    network = load_base(str(base), 0.0).eval()
    choose_execution(network, 40)
    adapter = adaptation.apply(network, seed=1)
    assert adapter is not None
    return adapter, AdapterOrigin.make(str(base), adaptation)


@pytest.mark.parametrize("lora", [{"r": 4}, {"r": 4, "dora": True}, {"r": 4, "embeddings": True}])
@pytest.mark.parametrize("dtype", [None, "bf16"])
def test_an_adapter_comes_back_on_its_base(base: Path, lora: dict[str, Any], dtype: str | None) -> None:
    adapter, origin = adapt(base, lora, dtype)
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None)
    with mixed:
        train(adapter.network, steps=1)
    with mixed:  # autocast keeps its copies of the weights until its end
        expected = compute_loss(adapter.network).item()
    state = {name: value.clone() for name, value in adapter.get_state().items()}
    again = AdapterOrigin.from_json(origin.to_json()).restore(adapter.network.config.to_json_string(), state)
    assert again.get_state().keys() == state.keys()
    with mixed:
        assert compute_loss(again.network.eval()).item() == pytest.approx(expected, rel=1e-6)
    exact = compute_loss(again.network).item()
    merged = again.merge()
    assert all(weight.dtype == torch.float32 for weight in merged.parameters())
    assert compute_loss(merged).item() == pytest.approx(exact, rel=1e-5)


def test_another_base_or_none_is_refused(base: Path, tmp_path: Path) -> None:
    adapter, origin = adapt(base, {"r": 4})
    other = build_from_scratch(dict(NETWORKS["llama"]), 120, 0, 0.0, seed=4)
    other.save_pretrained(tmp_path / "other")
    description, state = adapter.network.config.to_json_string(), adapter.get_state()
    with pytest.raises(InputError, match="other is not the base of this adapter"):
        origin.restore(description, state, str(tmp_path / "other"))
    with pytest.raises(InputError, match="needs its base"):
        origin.restore(description, state, str(tmp_path / "gone"))
    (tmp_path / "base").rename(tmp_path / "moved")
    assert origin.restore(description, state, str(tmp_path / "moved")).names == adapter.names


@pytest.mark.parametrize("name", NETWORKS)
def test_peft_loads_the_saved_adapter_on_its_base(tmp_path: Path, name: str) -> None:
    build(name).save_pretrained(tmp_path / "base")
    adapter, _ = adapt(tmp_path / "base", {"r": 4, "embeddings": True})
    train(adapter.network)
    ids = torch.arange(12)[None]
    adapter.network.set_attn_implementation("eager")
    expected = adapter.network(ids).logits
    adapter.save(str(tmp_path / "adapter"), str(tmp_path / "base"))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    found = PeftModel.from_pretrained(plain, tmp_path / "adapter").eval()(ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_layers_without_a_name_of_their_own_are_adapted_alone() -> None:
    network = build("llama")
    for layer in network.base_model.layers:
        layer.mlp = torch.nn.Sequential(layer.mlp, torch.nn.Linear(32, 32))  # named `1`, as the second block is
    adapter = Adapter(network, LoraSettings.read({}), seed=1)
    assert sum(".mlp.1.lora_A" in name for name in adapter.names) == 2
    assert not any(name.startswith("model.layers.1.lora") for name in adapter.names)


def test_an_entry_of_another_version_is_refused() -> None:
    with pytest.raises(InputError, match="another form"):
        AdapterOrigin.from_json('{"base": "x", "rank": 4}')
