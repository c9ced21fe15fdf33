"""A base of any family is used exactly, from its folder, or refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from lightning_med.model.causal_lm import build_from_scratch, compute_nll, load_base
from lightning_med.model.execution import choose_execution
from lightning_med.training.base_checks import check_base, check_training
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.model.flat_batches import make_flat_batch

GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt_neo": {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]}
    | {"window_size": 8, "max_position_embeddings": 64},
    "gptj": {**GPT, "rotary_dim": 8},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "gpt_neox": {name: size for name, size in tiny.LLAMA.items() if name != "num_key_value_heads"},
    "opt": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64}
    | {"word_embed_proj_dim": 32, "max_position_embeddings": 64},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_of_a_family_gives_the_loss_of_transformers(tmp_path: Path, family: str) -> None:
    base = str(tmp_path / "base")
    build_from_scratch({"model_type": family, **FAMILIES[family]}, 100, 0, 0.0, seed=3).save_pretrained(base)
    check_base(base, "train")
    check_training({"base": base}, on_cpu=True)
    network = load_base(base, 0.0).eval()
    choose_execution(network, 30)
    rows = [torch.randint(100, (length,), generator=torch.Generator().manual_seed(length)) for length in (5, 30, 17)]
    learned = torch.tensor([place for place in range(1, 52) if place not in (5, 35)])
    with torch.no_grad():
        ours = compute_nll(network, make_flat_batch(rows, learned))[0]
        theirs = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
        logits = [theirs(row[None], use_cache=False).logits[0, :-1] for row in rows]
    expected = sum(cross_entropy(part, row[1:], reduction="sum") for part, row in zip(logits, rows, strict=True))
    assert float(ours) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq", "torchao", "fp8", "compressed-tensors", None])
def test_a_quantized_base_is_refused_from_its_configuration(tmp_path: Path, method: str | None) -> None:
    build_from_scratch({"model_type": "llama", **tiny.LLAMA}, 100, 0, 0.0, seed=3).save_pretrained(tmp_path)
    path, fields = tmp_path / "config.json", {"quant_method": method} if method else {"load_in_4bit": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": fields}))
    (tmp_path / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(InputError, match="quantized"):
        check_base(str(tmp_path), "train")


def test_a_folder_without_safetensors_is_refused_from_its_files(tmp_path: Path) -> None:
    build_from_scratch({"model_type": "llama", **tiny.LLAMA}, 100, 0, 0.0, seed=3).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="a pickle, which may hold code"):
        check_base(str(tmp_path), "train")
