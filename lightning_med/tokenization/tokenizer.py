"""Tokenizers: loaded, trained, stored as text and restored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lightning_med.tokenization.fast_bpe import is_exact, make_fast_bpe
from lightning_med.utils.allocator import release_freed_memory
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text
from lightning_med.utils.hub import download, explain_hub_errors

if TYPE_CHECKING:  # transformers is imported where a whole tokenizer is made: the processes that encode need none
    from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"

_OPTION, _FILES = "--data.tokenizer FOLDER", ["*.json", "*.txt", "*.model"]

_SPECIAL = ("eos_token", "bos_token", "pad_token", "unk_token")


def load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer from a folder or the Hub, reduced to its rules and special tokens.

    Raises:
        InputError: It is not there, has no end-of-text token, or is not of the `tokenizers` library.
    """
    from transformers import AutoTokenizer

    folder = download(name, _OPTION, _FILES)
    with explain_hub_errors(name, _OPTION):
        loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None or loaded.eos_token is None:
        raise InputError(f"{name}: this tokenizer has no fast form or no end-of-text token.", "GPT-2's has both.")
    special = {key: getattr(loaded, key) for key in _SPECIAL if getattr(loaded, key, None)}
    return restore_tokenizer(json.dumps({"tokenizer": backend.to_str(), "special": special}))


def read_tokenizer_rules(name: str, cache: Path) -> str:
    """A tokenizer as text, for `restore_tokenizer`; read from its files once, then from a folder of ours.

    Raises:
        InputError: See `load_tokenizer`.
    """
    import transformers

    folder = download(name, _OPTION, _FILES)
    digest = sha256(transformers.__version__.encode())
    for file in sorted(
        file for file in folder.iterdir() if file.is_file() and file.suffix in (".json", ".txt", ".model")
    ):
        digest.update(file.name.encode() + file.read_bytes())
    kept = cache / "tokenizers" / f"{digest.hexdigest()[:24]}.txt"
    if not kept.is_file():
        write_text(kept, store_tokenizer(load_tokenizer(name)))
        release_freed_memory()
    return kept.read_text(encoding="utf-8")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer in GPT-2's manner, trained on these texts; equal texts give equal tokenizers."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return restore_tokenizer(json.dumps({"tokenizer": backend.to_str(), "special": {"eos_token": END}}))


def store_tokenizer(tokenizer: PreTrainedTokenizerFast) -> str:
    """The tokenizer as one text, for `restore_tokenizer`."""
    special = {key: getattr(tokenizer, key) for key in _SPECIAL if getattr(tokenizer, key)}
    return json.dumps({"tokenizer": tokenizer.backend_tokenizer.to_str(), "special": special})


def restore_tokenizer(text: str) -> PreTrainedTokenizerFast:
    """The tokenizer that `store_tokenizer` wrote down. Padding, where a model has none, is done with the end token."""
    from transformers import PreTrainedTokenizerFast

    stored = json.loads(text)
    special = {"pad_token": stored["special"]["eos_token"], **stored["special"]}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(stored["tokenizer"]), **special)


class Rules(Protocol):
    """What an `Encoder` needs of a tokenizer."""

    @property
    def backend_tokenizer(self) -> Tokenizer: ...

    @property
    def eos_token_id(self) -> int: ...


class StoredRules:
    """The rules of a tokenizer that `store_tokenizer` wrote down, made into a tokenizer only if need be.

    Attributes:
        text: Of `Tokenizer.to_str`.
        eos_token_id: The end's id.
        vocabulary: Every id is below it.
    """

    def __init__(self, text: str) -> None:
        stored = json.loads(text)
        self.text: str = stored["tokenizer"]
        rules = json.loads(self.text)
        added = {token["content"]: token["id"] for token in rules["added_tokens"]}
        self.eos_token_id: int = added[stored["special"]["eos_token"]]
        self.vocabulary: int = len(rules["model"]["vocab"].keys() | added.keys())

    @cached_property
    def backend_tokenizer(self) -> Tokenizer:
        return Tokenizer.from_str(self.text)


def make_splitting_tokenizer(rules: str) -> Tokenizer:
    """A tokenizer that splits special tokens into ordinary ones, pads nothing and cuts nothing.

    Args:
        rules: Of `Tokenizer.to_str`.
    """
    backend = Tokenizer.from_str(rules)
    backend.encode_special_tokens = True
    backend.no_padding()
    backend.no_truncation()
    return backend


def is_fast_bpe_exact(rules: str) -> bool:
    """Whether `bpe.Swift` gives a tokenizer's own ids."""
    backend = make_splitting_tokenizer(rules)
    found = make_fast_bpe(rules, lambda text: backend.encode(text, add_special_tokens=False).ids)
    return found is not None and is_exact(found, backend)
