"""The fast encoder gives a tokenizer's own ids for any text, or it is not used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lightning_med.tokenization.fast_bpe import _LONG, FastBPE, _map_byte_signs, is_exact, make_fast_bpe
from lightning_med.tokenization.tokenizer import (
    END,
    is_fast_bpe_exact,
    load_tokenizer,
    make_splitting_tokenizer,
    train_tokenizer,
)

# Words and white space of every kind, contractions, and what a person may spell out.
PIECES = (
    *("the", "Doctor", "don't", "I'M", "'ll", "'s", "’s", "500mg", "37.5", "1234", "½", "²", "…", "—", "!?", "#", "_"),
    *("é", "e\u0301", "İ", "日本", "ไทย", "हिन्दी", "عربي", "👩‍⚕️", "\ufeff", "\u200b", "\x00", "\x85", "\u2028"),
    *(" ", "  ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\x1c"),
    *(END, "<|im_start|>", "[PAD]", "<|endoftext", "|>"),
)
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join))


def both(rules: str) -> tuple[FastBPE, Tokenizer]:
    backend = make_splitting_tokenizer(rules)
    found = make_fast_bpe(rules, lambda text: backend.encode(text, add_special_tokens=False).ids)
    assert found is not None
    assert is_exact(found, backend)
    return found, backend


def assert_equal(found: FastBPE, backend: Tokenizer, texts: Iterable[str]) -> None:
    texts = list(texts)
    expected = backend.encode_batch_fast(texts, add_special_tokens=False)
    for text, ids, encoding in zip(texts, found.ids(texts), expected, strict=True):
        assert ids.tolist() == encoding.ids, ascii(text[:200])


@pytest.fixture(scope="module")
def own(tokenizer: PreTrainedTokenizerFast) -> tuple[FastBPE, Tokenizer]:
    """Both of a tokenizer that we trained."""
    return both(tokenizer.backend_tokenizer.to_str())


@pytest.fixture(scope="module")
def sharp() -> tuple[FastBPE, Tokenizer]:
    """Both of a tokenizer in which any byte after a letter, a digit, a sign or a space melts into it.

    So its ids show wherever the two disagree about what belongs to a word.
    """
    signs = {byte: sign for sign, byte in _map_byte_signs().items()}
    merges = [(signs[ord(first)], signs[byte]) for first in "a1! " for byte in range(256)]
    vocab = [*(signs[byte] for byte in range(256)), *("".join(pair) for pair in merges)]
    backend = Tokenizer(models.BPE({token: number for number, token in enumerate(vocab)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return both(backend.to_str())


@pytest.fixture(scope="module")
def gpt2(gpt2_folder: Path) -> tuple[FastBPE, Tokenizer]:
    """Both of GPT-2's."""
    return both(load_tokenizer(str(gpt2_folder)).backend_tokenizer.to_str())


@given(TEXTS)
def test_ids_are_those_of_the_tokenizer(own: tuple[FastBPE, Tokenizer], text: str) -> None:
    assert_equal(*own, [text])
    assert own[0].decode(own[0].ids([text])[0].tolist()) == text


@given(TEXTS)
def test_ids_are_those_of_gpt2(gpt2: tuple[FastBPE, Tokenizer], text: str) -> None:
    assert_equal(*gpt2, [text])


def test_every_sign_belongs_to_a_word_or_not_as_in_the_tokenizer(sharp: tuple[FastBPE, Tokenizer]) -> None:
    """Two libraries know Unicode from two versions of its tables; every block is looked at, its beginning closely."""
    signs = [chr(code) for code in [*range(0x3100), *range(0x3100, 0x110000, 29)] if not 0xD800 <= code < 0xE000]
    lines = [f"a{sign}b\n1{sign}2\n!{sign}?\n {sign}x\n  {sign}" for sign in signs]
    assert_equal(*sharp, lines)


@given(st.text(" \t\n\r\u00a0\u2003a1!'", max_size=40))
def test_runs_of_white_space_part_alike(sharp: tuple[FastBPE, Tokenizer], text: str) -> None:
    assert_equal(*sharp, [text])


@settings(max_examples=25)
@given(
    st.lists(st.text("ab é日'1 ", min_size=1, max_size=12), min_size=1, max_size=8),
    st.lists(st.text("ab é日'1 \n", max_size=40), min_size=1, max_size=8),
    st.integers(257, 330),
)
def test_whatever_a_tokenizer_was_trained_on(learned: list[str], texts: list[str], vocab_size: int) -> None:
    rules = train_tokenizer(learned * 3, vocab_size).backend_tokenizer.to_str()
    assert_equal(*both(rules), texts)


@pytest.mark.parametrize("spelled", [END, f"a{END}b", f" {END} {END}", "[PAD]"])
def test_control_tokens_that_are_spelled_stay_text(spelled: str) -> None:
    own = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(["It hurts."] * 3, 300).backend_tokenizer, eos_token=END, pad_token="[PAD]"
    )
    found, backend = both(own.backend_tokenizer.to_str())
    assert_equal(found, backend, [spelled])
    assert not set(own.all_special_ids) & set(found.ids([spelled])[0].tolist())


@pytest.mark.parametrize("piece", ["a", " ", "\n", "日", "a b", "1,", END])
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_long_runs_are_equal_on_both_sides_of_the_limit(own: tuple[FastBPE, Tokenizer], piece: str, over: int) -> None:
    assert_equal(*own, [(piece * _LONG)[: _LONG + over]])


@pytest.mark.parametrize("piece", [" ", "\n", "a"])
def test_a_run_that_costs_tiktoken_its_stack_is_encoded(own: tuple[FastBPE, Tokenizer], piece: str) -> None:
    assert_equal(*own, [f"{piece * 1_000_000}b"])


def test_many_texts_are_as_one_by_one(own: tuple[FastBPE, Tokenizer]) -> None:
    together = own[0].ids(list(PIECES))
    assert [ids.tolist() for ids in together] == [own[0].ids([text])[0].tolist() for text in PIECES]
    assert all(np.issubdtype(ids.dtype, np.integer) for ids in together)
    assert own[0].ids([]) == []


# Tokenizers of another form


def changed(rules: str, *path: str, **change: Any) -> str:
    stored = json.loads(rules)
    place = stored
    for key in path:
        place = place[key]
    place.update(change)
    return json.dumps(stored)


DIGITS = {"type": "Digits", "individual_digits": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
SPLIT = {"type": "Split", "pattern": {"Regex": "\\d"}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    "change",
    [
        lambda rules: changed(rules, normalizer={"type": "NFC"}),
        lambda rules: changed(rules, normalizer={"type": "Lowercase"}),
        lambda rules: changed(rules, pre_tokenizer=None),
        lambda rules: changed(rules, "pre_tokenizer", add_prefix_space=True),
        lambda rules: changed(rules, "pre_tokenizer", use_regex=False),
        lambda rules: changed(rules, pre_tokenizer={"type": "Whitespace"}),
        lambda rules: changed(rules, pre_tokenizer={"type": "Sequence", "pretokenizers": [DIGITS, BYTES]}),
        lambda rules: changed(rules, pre_tokenizer={"type": "Sequence", "pretokenizers": [SPLIT, BYTES]}),
        lambda rules: changed(rules, "model", dropout=0.5),
        lambda rules: changed(rules, "model", ignore_merges=True),
        lambda rules: changed(rules, "model", byte_fallback=True),
        lambda rules: changed(rules, "model", end_of_word_suffix="</w>"),
        lambda rules: changed(rules, "model", merges=json.loads(rules)["model"]["merges"][::-1]),
        lambda rules: changed(rules, "model", merges=json.loads(rules)["model"]["merges"][:-1]),
    ],
)
def test_rules_of_another_form_are_declined(tokenizer: PreTrainedTokenizerFast, change: Callable[[str], str]) -> None:
    rules = tokenizer.backend_tokenizer.to_str()
    assert is_fast_bpe_exact(rules)
    Tokenizer.from_str(change(rules))  # a tokenizer nonetheless
    assert not is_fast_bpe_exact(change(rules))


def test_words_added_to_a_tokenizer_are_declined(tokenizer: PreTrainedTokenizerFast) -> None:
    """They are looked for in a text before it is split; tiktoken knows no such thing."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.add_tokens(["knee pain"])
    assert not is_fast_bpe_exact(backend.to_str())


@pytest.mark.parametrize(
    "model",
    [
        models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"),
        models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"),
        models.Unigram([("[UNK]", 0.0), ("a", -1.0)], 0),
        models.BPE({f"<0x{byte:02X}>": byte for byte in range(256)}, [], byte_fallback=True),
        models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]),  # not every byte is in it
    ],
    ids=lambda model: type(model).__name__,
)
def test_models_of_another_kind_are_declined(model: Any) -> None:
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert not is_fast_bpe_exact(backend.to_str())


def test_vocabulary_that_does_not_write_bytes_is_declined() -> None:
    backend = Tokenizer(models.BPE({"a": 0, "日": 1, "a日": 2}, [("a", "日")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert not is_fast_bpe_exact(backend.to_str())


def test_tokens_that_merge_in_two_ways_are_found_out() -> None:
    """tiktoken joins any two tokens that make a third; the tokenizer only those that a rule names."""
    signs = {byte: sign for sign, byte in _map_byte_signs().items()}
    vocab = {**{signs[byte]: byte for byte in range(256)}, "bc": 256, "ab": 257, "abc": 258}
    backend = Tokenizer(models.BPE(vocab, [("b", "c"), ("a", "b"), ("ab", "c")]))  # `a bc` is no rule
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found = make_fast_bpe(backend.to_str(), lambda text: backend.encode(text).ids)
    assert found is not None
    assert found.ids(["abc"])[0].tolist() != backend.encode("abc").ids
    assert not is_exact(found, backend)
