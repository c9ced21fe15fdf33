"""Networks are built from scratch, from a folder and from their own description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import CONFIG_MAPPING, BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from lightning_med.model.causal_lm import (
    build_from_scratch,
    build_from_text,
    check_from_scratch,
    describe_network,
    load_base,
)
from lightning_med.model.execution import get_context_length
from lightning_med.utils.errors import InputError
from tests import tiny


def scratch(seed: int = 1, attention_dropout: float = 0.0, **fields: Any) -> Any:
    return build_from_scratch({**tiny.NETWORK, **fields}, 300, 0, attention_dropout, seed)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A small pretrained GPT-2 in a folder, with GPT-2's default dropout."""
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, n_positions=64, vocab_size=300)).save_pretrained(
        tmp_path
    )
    return tmp_path


def test_one_seed_gives_one_set_of_weights() -> None:
    first = scratch(seed=1)
    torch.rand(5)
    second, other = scratch(seed=1), scratch(seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.get_input_embeddings().weight, other.get_input_embeddings().weight)


def test_the_callers_random_numbers_stay_as_they_were() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    scratch(seed=99)
    assert torch.equal(torch.rand(4), expected)


def test_from_scratch_takes_vocabulary_and_end_from_the_tokenizer() -> None:
    network = scratch()
    assert network.get_input_embeddings().num_embeddings == 300
    assert network.config.eos_token_id == 0
    assert get_context_length(network) == tiny.NETWORK["n_positions"]
    assert network.training
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"n_layers": 2}, "n_layers"),
        ({"n_embd": 30, "n_head": 4}, "n_embd"),
        ({"n_layer": "two"}, "n_layer"),
        ({"n_layer": 0}, "n_layer is 0"),
        ({"n_embd": -32}, "n_embd is -32"),
        ({"activation_function": "gelux"}, "'gelux' is not a known value"),
        ({"vocab_size": 100}, "vocab_size is 100, but the tokenizer has 300"),
    ],
)
def test_fields_that_do_not_fit_are_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        scratch(**fields)


LLAMA = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}


def test_fields_may_be_left_to_the_family() -> None:
    assert scratch(n_inner=None).config.n_inner is None


def test_from_scratch_builds_any_decoder() -> None:
    network = build_from_scratch({**LLAMA, "num_attention_heads": 4}, 300, 7, 0.0, seed=1)
    assert network.config.model_type == "llama"
    assert network.config.eos_token_id == 7
    assert network.config.pad_token_id is None
    assert network.get_input_embeddings().num_embeddings == 300  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model_type": "lama"}, "model_type 'lama'"),
        ({"model_type": ["llama"]}, "model_type"),
        ({"model_type": "t5"}, "model_type 't5'"),
        ({**LLAMA, "n_layer": 2}, "LlamaConfig has no n_layer"),
        ({**LLAMA, "num_attention_heads": 5}, "attention heads"),
        ({**LLAMA, "num_attention_heads": 4, "num_key_value_heads": 3}, "divi"),
        ({**LLAMA, "num_attention_heads": "4"}, "num_attention_heads is '4'"),
        ({**LLAMA, "rope_parameters": {"rope_theta": 0, "rope_type": "default"}}, "rope_theta is 0"),
        ({**LLAMA, "eos_token_id": 300}, "eos_token_id is 300"),
        ({**LLAMA, "attention_dropout": None}, "attention_dropout is None"),
        ({**LLAMA, "rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
        ({**LLAMA, "attention_bias": 1}, "attention_bias is 1"),
        ({**LLAMA, "num_hidden_layers": 10**9}, "num_hidden_layers is"),
        ({**LLAMA, "intermediate_size": 10**7, "hidden_size": 10**6, "num_attention_heads": 4}, "GiB"),
        ({**LLAMA, "torch_dtype": "bfloat16"}, "has no torch_dtype"),
        ({"summary_type": "x"}, "has no summary_type"),
        ({**LLAMA, "hidden_act": "gelux"}, "'gelux' is not a known value"),
    ],
)
def test_fields_of_other_decoders_that_do_not_fit_are_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        build_from_scratch(fields, 300, 0, 0.0, seed=1)


def test_attention_dropout_is_off_unless_asked_for(base: Path) -> None:
    assert scratch().config.attn_pdrop == 0
    assert scratch(attention_dropout=0.2).config.attn_pdrop == 0.2
    for probability in (0.0, 0.2):
        network = load_base(str(base), probability)
        assert network.config.attn_pdrop == probability
        assert {m.attn_dropout.p for m in network.modules() if hasattr(m, "attn_dropout")} == {probability}


def test_other_dropout_of_a_base_stays(base: Path) -> None:
    config = load_base(str(base), 0.0).config
    assert config.resid_pdrop == config.embd_pdrop == 0.1


def test_a_base_is_loaded_in_train_mode_and_float32(base: Path) -> None:
    stored = GPT2LMHeadModel.from_pretrained(base)
    stored.to(torch.bfloat16).save_pretrained(base)
    network = load_base(str(base), 0.0)
    assert all(module.training for module in network.modules())
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    for name, weight in stored.state_dict().items():
        assert torch.equal(network.state_dict()[name], weight.float())


def test_a_network_is_built_again_from_its_text(base: Path) -> None:
    ids = torch.arange(10)[None]
    for network in (scratch(), load_base(str(base), 0.1)):
        again = build_from_text(describe_network(network))
        again.load_state_dict(network.state_dict())
        assert torch.equal(again.eval()(ids).logits, network.eval()(ids).logits)
        assert describe_network(again) == describe_network(network)
        assert again.config.attn_pdrop == network.config.attn_pdrop


def test_a_base_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        load_base(str(tmp_path / "missing"), 0.0)


def test_a_folder_that_holds_no_model_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(InputError) as raised:
        load_base(str(tmp_path), 0.0)
    assert str(tmp_path) in raised.value.what
    assert "config.json" in raised.value.hint


def test_a_folder_with_half_a_model_is_the_users_mistake(base: Path) -> None:
    whole = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=str(base)):
        load_base(str(base), 0.0)


def test_weights_in_a_pickle_are_not_loaded(base: Path) -> None:
    torch.save(GPT2LMHeadModel.from_pretrained(base).state_dict(), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(InputError, match=str(base)):
        load_base(str(base), 0.0)


def test_a_model_of_another_kind_is_the_users_mistake(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=30)
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=str(tmp_path)):
        load_base(str(tmp_path), 0.0)


VALUES = (
    st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.text(max_size=4)
    | st.sampled_from(["gelu", "relu", "eager"])
    | st.lists(st.integers(-2, 9) | st.floats(), max_size=3)
    | st.dictionaries(st.sampled_from(["rope_theta", "rope_type", "factor", "x"]), st.floats() | st.none(), max_size=3)
)
SMALL = {"gpt2": tiny.NETWORK, "llama": {**LLAMA, "num_attention_heads": 4}}
NAMES = {kind: sorted({*CONFIG_MAPPING[kind]().to_dict(), *CONFIG_MAPPING[kind].attribute_map}) for kind in SMALL}


@pytest.mark.parametrize("kind", SMALL)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_any_fields_build_a_network_that_runs_or_are_refused(kind: str, drawn: st.DataObject) -> None:
    changes = drawn.draw(
        st.dictionaries(st.sampled_from(NAMES[kind]) | st.text(max_size=5), VALUES, min_size=1, max_size=2)
    )
    fields = {**SMALL[kind], **changes}
    try:
        check_from_scratch(dict(fields))
        network = build_from_scratch(fields, 50, 0, 0.0, seed=1)
    except InputError as error:
        assert error.hint  # noqa: PT017
        return
    network(input_ids=torch.arange(8)[None])
