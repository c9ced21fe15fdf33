"""How llama.cpp is told to split text: by what the tokenizer does, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gguf import TokenType
from tokenizers import AddedToken

from lightning_med.export.gguf.folder import check_gguf
from lightning_med.export.gguf.tokenizer import choose_rule, list_tokens
from lightning_med.tokenization.backend_text import split_backend
from lightning_med.utils.errors import InputError
from scripts.bases.tokenizers import load_base, make_base
from tests.export.models import LLAMA, make_model

SMOLLM = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}


def read(tokenizer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    settings, model = split_backend(tokenizer.backend_tokenizer.to_str())
    return settings, json.loads(model)


@pytest.mark.parametrize(
    ("base", "changes", "rule"),
    [
        ("smollm2", {}, "gpt-2"),
        ("smollm2", {"pre_tokenizer": SMOLLM}, "smollm"),
        ("qwen2", {}, "qwen2"),
        ("llama3", {}, "dbrx"),
        ("llama3", {"ignore_merges": True}, "llama-bpe"),
    ],
)
def test_the_rule_is_what_the_tokenizer_does(base: str, changes: dict[str, Any], rule: str) -> None:
    settings, model = read(load_base(base))
    assert choose_rule({**settings, **changes}, {**model, **changes}) == rule


def test_a_tokenizer_trained_here_splits_as_gpt2s(tokenizer: Any) -> None:
    assert choose_rule(*read(tokenizer)) == "gpt-2"


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        ("gemma", {}),
        ("unigram", {}),
        ("llama2_prefix_space", {}),
        ("phi3", {}),
        ("smollm2", {"normalizer": {"type": "NFC"}}),
        ("smollm2", {"normalizer": {"type": "Lowercase"}}),
        ("smollm2", {"ignore_merges": True}),
        ("qwen2", {"pre_tokenizer": None}),
        ("smollm2", {"pre_tokenizer": {**SMOLLM["pretokenizers"][1], "add_prefix_space": True}}),  # type: ignore[index, dict-item]
        ("smollm2", {"pre_tokenizer": {"type": "Whitespace"}}),
        ("smollm2", {"end_of_word_suffix": "</w>"}),
    ],
)
def test_a_rule_that_llama_cpp_does_not_have_is_refused(base: str, changes: dict[str, Any]) -> None:
    settings, model = read(load_base(base))
    with pytest.raises(InputError, match="cannot hold this tokenizer") as raised:
        choose_rule({**settings, **changes}, {**model, **changes})
    assert "--format hf" in raised.value.hint


def test_a_token_that_takes_the_white_space_around_it_is_refused() -> None:
    tokenizer = make_base("gpt2", tokens=(AddedToken("<|user|>", rstrip=True, special=True),))
    with pytest.raises(InputError, match=r"<\|user\|>"):
        choose_rule(*read(tokenizer))


def test_each_id_has_a_token_of_its_kind() -> None:
    added = [
        {"id": 2, "content": "<end>", "special": True},
        {"id": 3, "content": "[PHONE]", "special": False},
        {"id": 5, "content": "<|stop|>", "special": False},
    ]
    tokens, types = list_tokens(added, {"a": 0, "[PAD6]": 1, "<end>": 2}, [2, 5], 8)
    assert tokens == ["a", "[PAD6]", "<end>", "[PHONE]", "[PAD4]", "<|stop|>", "[[PAD6]]", "[PAD7]"]
    kinds = [TokenType.NORMAL] * 2 + [TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNUSED, TokenType.CONTROL]
    assert types == [*kinds, TokenType.UNUSED, TokenType.UNUSED]
    assert len(set(tokens)) == len(tokens)


def test_a_token_without_an_embedding_is_refused() -> None:
    model = make_model("llama", LLAMA, "smollm2", padding=-1)
    with pytest.raises(InputError, match="has ids up to"):
        check_gguf(model)
