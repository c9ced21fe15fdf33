"""The tokenizer of a GGUF file, with the rules that transformers does not take from it."""

from __future__ import annotations

import json
from collections.abc import Callable

from tokenizers import Tokenizer, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lightning_med.cli.bases.gguf_header import Header
from lightning_med.utils.errors import InputError

_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")
_GPT2 = ("gpt-2", "phi-2")  # names of GPT-2's own rule, which transformers falls back to for every unknown name


def _set_single_digits(backend: Tokenizer) -> None:
    """Splits every digit off, then by GPT-2's rule: as in llama.cpp (`LLAMA_VOCAB_PRE_TYPE_SMOLLM`)."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, words])


def _compose_characters(backend: Tokenizer) -> None:
    """Composes characters (NFC), as transformers' own tokenizer of Qwen2 does; its rule to split is read already."""
    backend.normalizer = normalizers.NFC()


RULES: dict[str, Callable[[Tokenizer], None]] = {  # by `tokenizer.ggml.pre`
    "smollm": _set_single_digits,
    "starcoder": _set_single_digits,
    "qwen2": _compose_characters,
}


def repair_tokenizer(loaded: PreTrainedTokenizerBase, header: Header) -> PreTrainedTokenizerFast:
    """Returns the tokenizer that transformers built from a GGUF file, with the rules of its `tokenizer.ggml.pre`.

    Args:
        loaded: By transformers.
        header: Of the file.

    Raises:
        InputError: How text is split is known neither to transformers nor here.
    """
    backend = Tokenizer.from_str(loaded.backend_tokenizer.to_str())  # type: ignore[attr-defined]
    rule = header.get("tokenizer.ggml.pre")
    if rule in RULES:
        RULES[rule](backend)
    elif header.get("tokenizer.ggml.model") == "gpt2" and rule not in _GPT2 and _splits_like_gpt2(backend):
        raise InputError(
            f"How its tokenizer splits text ({rule or 'not named'}) is not known, and every token may depend on it.",
            "Get the model as a folder with tokenizer.json.",
        )
    special = {name: getattr(loaded, name) for name in _SPECIAL if getattr(loaded, name)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, legacy=False, **special
    )
    tokenizer.chat_template = loaded.chat_template
    return tokenizer


def _splits_like_gpt2(backend: Tokenizer) -> bool:
    splitter = json.loads(backend.to_str())["pre_tokenizer"]
    return bool(splitter) and splitter["type"] == "ByteLevel" and splitter["use_regex"]
