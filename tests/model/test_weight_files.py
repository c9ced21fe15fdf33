"""A base is loaded whole or refused in two lines that name what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from lightning_med.model.causal_lm import build_from_text, load_base
from lightning_med.model.weight_files import load_weights
from lightning_med.utils.errors import InputError


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


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "model._orig_mod."])
def test_names_with_a_prefix(base: Path, prefix: str) -> None:
    edit_weights(base, lambda weights: {prefix + name: weight for name, weight in weights.items()})
    error = refuse(base)
    assert "lacks 21 of 21 weights" in error.what
    assert repr(prefix) in error.hint


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
    assert "is [50, 16] in the file, and config.json asks for [60, 16]" in refuse(base).what


def test_a_weight_that_belongs_to_no_layer_is_ignored(base: Path) -> None:
    expected = load_base(str(base), 0.0).state_dict()
    edit_weights(base, lambda weights: {**weights, "vision.patch.weight": torch.zeros(3)})
    loaded = load_base(str(base), 0.0).state_dict()
    assert all(torch.equal(expected[name], weight) for name, weight in loaded.items())


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
    assert "fetch_base.py" in refuse(gguf).hint


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("value", ["kernels-community/flash-attn", "flash_attention_2"])
def test_a_base_does_not_choose_the_attention(base: Path, name: str, value: str) -> None:
    edit_config(base, **{name: value})
    assert load_base(str(base), 0.0).config._attn_implementation == "sdpa"
    text = json.dumps({**json.loads((base / "config.json").read_text()), name: value})
    assert build_from_text(text).config._attn_implementation == "sdpa"
    assert load_weights(base, "an export").config._attn_implementation == "sdpa"
