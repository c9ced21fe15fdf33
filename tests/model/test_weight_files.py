"""A base is loaded whole or refused in two lines that name what is wrong."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from lightning_med.model.causal_lm import build_from_text, compute_nll, describe_network, load_base
from lightning_med.model.weight_files import load_weights
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.model.flat_batches import make_flat_batch


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A Llama of two layers in a folder."""
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=50, **sizes)).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def edit_config(base: Path, **fields: Any) -> None:
    path = base / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def edit_weights(base: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    path = base / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def refuse(base: Path) -> InputError:
    with pytest.raises(InputError) as raised:
        load_base(str(base), 0.0)
    assert raised.value.hint
    assert "\n" not in raised.value.what + raised.value.hint
    return raised.value


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "model._orig_mod.", "base_model.model.", "transformer."])
def test_names_with_a_prefix(base: Path, prefix: str) -> None:
    edit_weights(base, lambda weights: {prefix + name: weight for name, weight in weights.items()})
    error = refuse(base)
    assert "lacks 21 of 21 weights: lm_head.weight, model.embed_tokens.weight, model.layers.0.input_layer" in error.what
    assert (
        f"; its files have 21 others: {prefix}lm_head.weight, {prefix}model.embed_tokens.weight, {prefix}" in error.what
    )
    assert error.hint.endswith(f": python scripts/strip_prefix.py {base} {base}-stripped --prefix {prefix}")


def test_names_with_a_prefix_inside(base: Path) -> None:
    edit_weights(base, lambda weights: {re.sub("^model", "model._orig_mod", name): weights[name] for name in weights})
    assert refuse(base).hint.endswith("-stripped --prefix _orig_mod.")


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_weights_as_the_hub_has_those_of_gpt2(tmp_path: Path, capsys: pytest.CaptureFixture[str], prefix: str) -> None:
    """Without or with the name of the network's body, and with the masks of earlier versions."""
    config = GPT2Config(n_layer=2, n_embd=16, n_head=2, n_positions=32, vocab_size=50)
    network = GPT2LMHeadModel(config)
    network.save_pretrained(tmp_path)
    masks = {"bias": torch.ones(1, 1, 32, 32).tril(), "masked_bias": torch.tensor(-1e4)}
    edit_weights(
        tmp_path,
        lambda weights: (
            {prefix + name.removeprefix("transformer."): weight for name, weight in weights.items()}
            | {f"{prefix}h.{layer}.attn.{name}": mask.clone() for layer in range(2) for name, mask in masks.items()}
        ),
    )
    loaded = load_base(str(tmp_path), 0.0).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in network.state_dict().items())
    assert "not used" not in "".join(capsys.readouterr())


def test_buffers_of_earlier_versions_are_not_mentioned(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.cos_cached"]
    edit_weights(base, lambda weights: {**weights, **{name: torch.ones(4) for name in names}})
    load_base(str(base), 0.0)
    assert "not used" not in "".join(capsys.readouterr())


LAYER = "model.layers.1.self_attn.q_proj"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"{LAYER}.bias", "does not ask for"),
        ("model.layers.0.self_attn.q_norm.weight", "does not ask for"),
        ("layers.0.self_attn.q_norm.weight", "does not ask for"),
        ("lm_head.bias", "does not ask for"),
        (f"{LAYER}.lora_A.default.weight", "merge_and_unload"),
        (f"base_model.model.{LAYER}.lora_B.weight", "merge_and_unload"),
        ("model.embed_tokens.lora_embedding_A.default", "merge_and_unload"),
        (f"{LAYER}.base_layer.weight", "merge_and_unload"),
        ("lm_head.modules_to_save.default.weight", "merge_and_unload"),
        (f"{LAYER}.weight.absmax", "quantized"),
        (f"{LAYER}.SCB", "quantized"),
        (f"{LAYER}.qweight", "quantized"),
        (f"{LAYER}.weight_scale", "quantized"),
        (f"{LAYER}.input_quantizer._amax", "quantized"),
        ("score.weight", "classifier"),
        ("classifier.dense.weight", "classifier"),
    ],
)
@pytest.mark.parametrize("in_place_of", [None, f"{LAYER}.weight"])
def test_weights_that_show_another_model(base: Path, name: str, said: str, in_place_of: str | None) -> None:
    edit_weights(
        base, lambda weights: {key: weights[key] for key in weights if key != in_place_of} | {name: torch.ones(3)}
    )
    error = refuse(base)
    assert name in error.what
    assert (f"lacks 1 of 21 weights: {in_place_of}" in error.what) == bool(in_place_of)
    assert said in f"{error.what} {error.hint}" or (in_place_of and said == "does not ask for")


def test_an_output_layer_that_differs_although_it_is_said_to_be_tied(base: Path) -> None:
    """transformers uses it then, and so do we: logits and loss are those of transformers, and it is saved so."""
    edit_config(base, tie_word_embeddings=True)
    network = load_base(str(base), 0.0).eval()
    theirs = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    assert not torch.equal(network.state_dict()["lm_head.weight"], network.state_dict()["model.embed_tokens.weight"])
    row = torch.arange(1, 12)
    batch = make_flat_batch([row], torch.arange(1, len(row)))
    expected = cross_entropy(theirs(row[None]).logits[0, :-1], row[1:], reduction="sum")
    assert float(compute_nll(network, batch)[0].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert not json.loads(describe_network(network))["tie_word_embeddings"]


@pytest.mark.parametrize("ending", ["bin", "pth"])
def test_weights_in_pickles_alone(base: Path, ending: str) -> None:
    weights = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    assert "Name a base with model.safetensors" in refuse(base).hint
    torch.save(weights, base / f"pytorch_model.{ending}")
    error = refuse(base)
    assert f"only pytorch_model.{ending}" in error.what
    if ending == "bin":
        command = shlex.split(error.hint.split(": ", 1)[1])
        assert command[:2] == ["python", "-c"]
        exec(command[2])
        assert tiny.is_equal(load_file(base / "model.safetensors"), weights)


def test_an_adapter_is_no_base(base: Path) -> None:
    (base / "adapter_config.json").write_text("{}")
    assert "is an adapter, not a base" in refuse(base).what


def test_one_missing_weight_is_named(base: Path) -> None:
    missing = "model.layers.1.mlp.up_proj.weight"
    edit_weights(base, lambda weights: {name: weight for name, weight in weights.items() if name != missing})
    assert f"lacks 1 of 21 weights: {missing}" in refuse(base).what


@pytest.mark.parametrize(("layers", "named"), [(3, "model.layers.2"), (1, "model.layers.1")])
def test_another_number_of_layers_than_the_weights_have(base: Path, layers: int, named: str) -> None:
    edit_config(base, num_hidden_layers=layers)
    assert named in refuse(base).what


def test_another_shape_than_the_weights_have(base: Path) -> None:
    edit_config(base, vocab_size=60)
    what = refuse(base).what
    assert (
        "lm_head.weight is [50, 16] in the file, and config.json asks for [60, 16]; 1 more differ: model.embed" in what
    )


@pytest.mark.parametrize("name", ["vision.patch.weight", "v_head.summary.weight"])
def test_a_weight_that_belongs_to_no_layer_is_not_used_and_said(
    base: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    expected = load_base(str(base), 0.0).state_dict()
    edit_weights(base, lambda weights: {**weights, name: torch.zeros(3)})
    loaded = load_base(str(base), 0.0).state_dict()
    assert all(torch.equal(expected[key], weight) for key, weight in loaded.items())
    assert f"{base}: its files have weights that are not used: {name}." in capsys.readouterr().out


@pytest.mark.parametrize(
    "fields",
    [{"quant_method": method} for method in ("gptq", "awq", "bitsandbytes", "torchao", "mxfp4", "unheard_of")]
    + [{"load_in_8bit": True}],
)
def test_quantized_weights(base: Path, fields: dict[str, Any]) -> None:
    edit_config(base, quantization_config=fields)
    assert "quantized" in refuse(base).what


def test_an_encoder_decoder(tmp_path: Path) -> None:
    T5ForConditionalGeneration(T5Config(vocab_size=50, d_model=16, d_ff=16, d_kv=8, num_layers=1)).save_pretrained(
        tmp_path
    )
    assert "encoder-decoder (t5)" in refuse(tmp_path).what


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_pointer_of_git_lfs_is_said_to_be_one(base: Path, name: str) -> None:
    (base / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 538090408\n")
    error = refuse(base)
    assert f"{base / name} is a Git LFS pointer" in error.what
    assert "lfs pull" in error.hint


def test_a_base_that_is_a_file(base: Path, tmp_path: Path) -> None:
    assert "is a file" in refuse(base / "model.safetensors").what
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF")
    assert "lightning-med fetch" in refuse(gguf).hint


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("value", ["kernels-community/flash-attn", "flash_attention_2"])
def test_a_base_does_not_choose_the_attention(base: Path, name: str, value: str) -> None:
    edit_config(base, **{name: value})
    assert load_base(str(base), 0.0).config._attn_implementation == "sdpa"
    text = json.dumps({**json.loads((base / "config.json").read_text()), name: value})
    assert build_from_text(text).config._attn_implementation == "sdpa"
    assert load_weights(base, "an export").config._attn_implementation == "sdpa"
