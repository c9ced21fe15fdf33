"""Bases of several families go the whole way of the command; others are refused before anything is written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from lightning_med.data.module import DialogueDataModule
from lightning_med.model.causal_lm import build_from_scratch
from lightning_med.tokenization.consultation import ANSWER
from lightning_med.tokenization.tokenizer import train_tokenizer
from tests import tiny
from tests.cli.helpers import read_json, run_refused, write_small_config

BASES: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 8},
    "granite": {"logits_scaling": 8.0},
    "gemma2": {"sliding_window": 8, "head_dim": 8, "query_pre_attn_scalar": 8},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
}


def save_base(folder: Path, model_type: str = "llama", vocabulary: int = 300, **fields: Any) -> Path:
    """Writes a base without a tokenizer."""
    network = build_from_scratch({"model_type": model_type, **tiny.LLAMA, **fields}, vocabulary, 0, 0.0, seed=3)
    network.save_pretrained(folder / model_type)
    return folder / model_type


@pytest.mark.parametrize("model_type", BASES)
def test_the_perplexity_of_a_run_is_that_of_transformers_on_its_export(
    folder: Path, tmp_path: Path, model_type: str
) -> None:
    base = save_base(tmp_path, model_type, **BASES[model_type])
    config = write_small_config(folder, tmp_path)
    options = ("--model.from_scratch", "null", "--model.base", base, "--model.lr", "0.01")
    status, _, err = tiny.command("fit", "--config", config, *options, cwd=tmp_path)
    assert status == 0, err
    run = tmp_path / "lightning_logs" / "small" / "version_0"
    checkpoint = run / "checkpoints" / "last.ckpt"
    status, _, err = tiny.command("test", "--ckpt_path", checkpoint, cwd=tmp_path)
    assert status == 0, err
    status, _, err = tiny.command("export", "--checkpoint", checkpoint, "--output", tmp_path / "export", cwd=tmp_path)
    assert status == 0, err
    found = read_json(run / "test.json")
    assert found["test/loss"] == pytest.approx(compute_loss(folder, tmp_path / "export"), rel=1e-5)
    assert found["test/base_loss"] == pytest.approx(compute_loss(folder, base), rel=1e-5)
    assert found["test/loss"] < found["test/base_loss"]
    status, out, err = tiny.command("respond", "--model", tmp_path / "export", "My tongue is sore.", cwd=tmp_path)
    assert (status, bool(out)) == (0, True), err


def compute_loss(folder: Path, model: Path) -> float:
    """The mean loss of the answers of the test rows, by transformers alone, a row at a time."""
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    store, total, tokens = DialogueDataModule(**tiny.data_settings(folder)).store("test"), 0.0, 0
    with torch.no_grad():
        for row in range(len(store)):
            ids, parts = torch.tensor(store.input_ids(row).astype(np.int64)), store.parts(row)[1:] == ANSWER
            nll = cross_entropy(network(ids[None]).logits[0, :-1], ids[1:], reduction="none")
            total, tokens = total + float(nll[torch.tensor(parts)].double().sum()), tokens + int(parts.sum())
    assert not math.isnan(total)
    return total / tokens


def refuse(folder: Path, tmp_path: Path, base: Path, *options: object) -> str:
    """Checks that a fit on a base is refused before the data are prepared, and returns the lines."""
    config = write_small_config(folder, tmp_path)
    argv = ("fit", "--config", config, "--model.from_scratch", "null", "--model.base", base, *options)
    return run_refused(*argv, "--data.cache_dir", tmp_path / "cache", cwd=tmp_path)


def test_a_quantized_base_is_refused(folder: Path, tmp_path: Path) -> None:
    base = save_base(tmp_path)
    path = base / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": {"quant_method": "awq"}}))
    assert "quantized (awq)" in refuse(folder, tmp_path, base)


def test_a_base_that_is_a_file_is_refused(folder: Path, tmp_path: Path) -> None:
    assert "is a file" in refuse(folder, tmp_path, save_base(tmp_path) / "model.safetensors")


def test_a_base_with_fewer_tokens_than_the_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    config = write_small_config(folder, tmp_path)
    base = save_base(tmp_path, vocabulary=200)
    argv = ("fit", "--config", config, "--model.from_scratch", "null", "--model.base", base)
    err = run_refused(*argv, cwd=tmp_path)  # it holds no tokenizer, so this is known when it is loaded
    assert "The tokenizer has 300 tokens" in err
    assert "knows 200" in err


def save_tokenizer(folder: Path) -> Path:
    train_tokenizer(["another text"] * 3, 270).save_pretrained(folder)
    return folder


def test_a_tokenizer_that_is_not_the_bases_is_refused(
    folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    base = save_base(tmp_path, vocabulary=len(tokenizer))
    tokenizer.save_pretrained(base)
    for other in ("train", save_tokenizer(tmp_path / "other")):
        err = refuse(folder, tmp_path, base, "--data.tokenizer", other)
        assert "is not that of the base" in err
        assert f"--data.tokenizer {base}" in err


def test_a_tokenizer_out_of_reach_is_answered_with_the_bases_own(
    folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    base = save_base(tmp_path, vocabulary=len(tokenizer))
    tokenizer.save_pretrained(base)
    err = refuse(folder, tmp_path, base, "--data.tokenizer", "distilgpt2")  # the default
    assert "distilgpt2" in err
    assert f"--data.tokenizer {base}" in err


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"vocab_size": 100}, "vocab_size is 100, but the tokenizer has 300"),
        ({"n_layer": 0}, "n_layer is 0"),
        ({"n_embd": -32}, "n_embd is -32"),
        ({"n_layer": 2.5}, "n_layer is 2.5"),
        ({"n_head": 5}, "divisible"),
        ({"activation_function": "gelux"}, "'gelux' is not a known value"),
        ({"n_positions": 0}, "n_positions is 0"),
        ({"resid_pdrop": 2.0}, "resid_pdrop is 2.0"),
        ({"n_embd": 10**9}, "n_embd is 1000000000"),
        ({"dtype": "bfloat16"}, "has no dtype"),
        ({"model_type": "gpt22"}, "Did you mean gpt2"),
    ],
)
def test_fields_of_no_network_are_refused_before_the_data_are_prepared(
    folder: Path, tmp_path: Path, fields: dict[str, Any], named: str
) -> None:
    config = write_small_config(folder, tmp_path)
    argv = ("fit", "--config", config, "--model.from_scratch", json.dumps({**tiny.NETWORK, **fields}))
    cache = () if "vocab_size" in fields else ("--data.cache_dir", tmp_path / "cache")
    assert named in run_refused(*argv, *cache, cwd=tmp_path)


@pytest.mark.parametrize("size", [-1, 0, 10, 256])
def test_a_vocabulary_that_cannot_be_trained_is_refused(folder: Path, tmp_path: Path, size: int) -> None:
    config = write_small_config(folder, tmp_path)
    argv = ("--config", config, "--data.vocab_size", size, "--data.cache_dir", tmp_path / "cache")
    for verb in ("fit", "prepare"):
        assert f"vocab_size is {size}" in run_refused(verb, *argv, cwd=tmp_path)


def test_a_base_that_lacks_a_weight_leaves_no_run(folder: Path, tmp_path: Path) -> None:
    base = save_base(tmp_path)
    weights = load_file(base / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    config = write_small_config(folder, tmp_path)
    err = run_refused("fit", "--config", config, "--model.from_scratch", "null", "--model.base", base, cwd=tmp_path)
    assert "weights: model.norm.weight" in err
