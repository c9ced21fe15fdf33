"""GGUF exports: read back they are the same model, in llama.cpp they give the same ids and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from transformers import AutoModelForCausalLM

from lightning_med.export.gguf.folder import GGUF_FILE, check_gguf, write_gguf_folder
from lightning_med.export.hf_folder import write_hf_folder
from lightning_med.export.trained_model import TrainedModel
from lightning_med.utils.errors import InputError
from scripts.runtimes.comparison import Comparison
from tests.export.models import GPT2, LLAMA, MODELS, find_python, make_model

LLAMA_CPP = find_python("llama_cpp", "LIGHTNING_MED_LLAMA_PYTHON")
READ = ["gpt2, 1,024 positions", "llama", "llama, untied", "llama, base 5,000", "mistral", "qwen2"]
ALL = {**MODELS, "gpt2, 1,024 positions": ("gpt2", {**GPT2, "n_positions": 1024}, "smollm2")}
QUESTIONS = ["My ear rings since 12 days?", "Is 38,5 °C a fever? — I’m ill \N{PILL}", "My back\n\nhurts!"]


def write(model: TrainedModel, folder: Path, weight_type: str = "float32") -> Path:
    folder.mkdir()
    check_gguf(model)
    write_gguf_folder(model, folder, weight_type, lambda *_: None)
    return folder / GGUF_FILE


def read_tensors(path: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in GGUFReader(path).tensors}


def read_field(path: Path, name: str) -> Any:
    field = GGUFReader(path).get_field(name)
    return None if field is None else field.contents()


@pytest.mark.parametrize("name", READ)
def test_transformers_reads_the_same_network_from_it(name: str, tmp_path: Path) -> None:
    model = make_model(*ALL[name])
    path = write(model, tmp_path / "gguf")
    read = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    ids = torch.randint(300, (2, 50), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(read(ids).logits, model.network(ids).logits, rtol=0, atol=1e-5)


@pytest.mark.skipif(LLAMA_CPP is None, reason="needs llama-cpp-python, or LIGHTNING_MED_LLAMA_PYTHON")
@pytest.mark.parametrize("name", list(MODELS))
def test_llama_cpp_gives_the_same_ids_prompts_and_answers(name: str, tmp_path: Path) -> None:
    own = ("<|endoftext|>",) if name == "qwen2" else ()  # transformers' class of Qwen2's tokenizers adds it
    model = make_model(*MODELS[name], words=("[PHONE]", "two words", *own))
    path = write(model, tmp_path / "gguf")
    (tmp_path / "hf").mkdir()
    write_hf_folder(model, tmp_path / "hf", "float32", lambda *_: None)
    comparison = Comparison(tmp_path / "hf", QUESTIONS, 1)
    comparison.compare_llama(path, str(LLAMA_CPP))
    assert not comparison.findings.faults
    assert len(comparison.findings.figures) == 5


def test_every_weight_is_there_once_and_a_tied_head_not_at_all(tmp_path: Path) -> None:
    for name in ("gpt2", "gpt2, untied", "llama", "llama, biases", "qwen3"):
        model = make_model(*MODELS[name])
        tensors = read_tensors(write(model, tmp_path / name))
        assert sum(tensor.n_elements for tensor in tensors.values()) == model.network.num_parameters()
        assert ("output.weight" in tensors) == (not model.network.config.tie_word_embeddings)


@pytest.mark.parametrize(
    ("weight_type", "stored", "bound"),
    [("float32", "F32", 0.0), ("float16", "F16", 2**-11), ("bfloat16", "BF16", 2**-8), ("q8_0", "Q8_0", 2**-7)],
)
def test_matrices_get_the_type_and_vectors_stay_exact(
    tmp_path: Path, weight_type: str, stored: str, bound: float
) -> None:
    model = make_model("llama", LLAMA, "smollm2")
    tensors = read_tensors(write(model, tmp_path / "gguf", weight_type))
    for name, key in (
        ("token_embd", "embed_tokens"),
        ("blk.1.ffn_down", "layers.1.mlp.down_proj"),
        ("output_norm", "norm"),
    ):
        tensor, weight = tensors[f"{name}.weight"], model.network.state_dict()[f"model.{key}.weight"].numpy()
        matrix = weight.ndim == 2 and not (weight_type == "q8_0" and weight.shape[-1] % 32)
        assert tensor.tensor_type.name == (stored if matrix else "F32" if weight.ndim == 1 else "F16")
        read = dequantize(tensor.data, tensor.tensor_type).reshape(weight.shape)
        largest = np.abs(weight).max() if weight_type == "q8_0" else np.abs(weight)
        assert (np.abs(read - weight) <= (bound * largest + 2**-25 if weight.ndim == 2 else 0)).all()


def test_position_embeddings_of_gpt2_stay_exact(tmp_path: Path) -> None:
    tensors = read_tensors(write(make_model(*MODELS["gpt2"]), tmp_path / "gguf", "bfloat16"))
    assert tensors["position_embd.weight"].tensor_type.name == "F32"
    assert tensors["blk.0.attn_qkv.weight"].tensor_type.name == "BF16"


def test_the_tokenizer_ends_answers_as_ours_does(tmp_path: Path) -> None:
    model = make_model(*MODELS["llama, untied"])
    path = write(model, tmp_path / "gguf")
    names = ("eos", "eot", "eom", "padding", "bos")
    ids = [read_field(path, f"tokenizer.ggml.{name}_token_id") for name in names]
    tokens = ["<|eot_id|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_of_text|>", "<|begin_of_text|>"]
    assert [model.tokenizer.convert_ids_to_tokens(number) for number in ids] == tokens
    assert set(ids[:3]) == set(model.stops)
    assert read_field(path, "tokenizer.ggml.add_bos_token") is False
    assert read_field(path, "tokenizer.ggml.add_eos_token") is False
    assert read_field(path, "tokenizer.ggml.pre") == "dbrx"  # Llama 3's rule without its habit to take words whole
    assert "generation %" not in read_field(path, "tokenizer.chat_template")


@pytest.mark.parametrize(
    ("family", "fields", "named"),
    [
        (
            "gpt_neox",
            {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
            "gpt_neox",
        ),
        ("gpt2", {**GPT2, "activation_function": "relu"}, "activation_function relu"),
        ("gpt2", {**GPT2, "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("llama", {**LLAMA, "hidden_act": "gelu"}, "hidden_act gelu"),
        ("mistral", {**LLAMA, "sliding_window": 16}, "sliding_window 16"),
        ("llama", {**LLAMA, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "dynamic"),
    ],
)
def test_a_network_that_llama_cpp_computes_otherwise_is_refused(
    family: str, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named) as raised:
        check_gguf(make_model(family, fields, "smollm2"))
    assert "--format hf" in raised.value.hint


def test_a_weight_that_llama_cpp_does_not_have_is_refused() -> None:
    model = make_model("llama", LLAMA, "smollm2")
    model.network.model.layers[1].extra = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"no counterpart of model\.layers\.1\.extra\.weight"):
        check_gguf(model)
