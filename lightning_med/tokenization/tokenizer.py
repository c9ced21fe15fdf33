"""Loads, trains, serializes and restores tokenizers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from lightning_med.tokenization.backend_text import split_backend
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text
from lightning_med.utils.hub import download, explain_hub_errors
from lightning_med.utils.memory.allocator import release_freed_memory

if TYPE_CHECKING:  # imported only where a whole tokenizer is made: processes that only encode do not need it
    from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"
LEAST_VOCABULARY = 257  # the 256 bytes and the end token: the smallest that can be trained
_OPTION = "--data.tokenizer FOLDER"
_SUFFIXES = (".json", ".txt", ".model", ".jinja")
_FILES = [f"*{suffix}" for suffix in _SUFFIXES]
_STORED = b"2"  # changes with what the stored text of a tokenizer holds
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_SPECIAL = ("eos_token", "bos_token", "pad_token", "unk_token")


def load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Loads a tokenizer from a folder or the Hub, reduced to its backend, its special tokens and its chat template.

    Args:
        name: A folder or a name on the Hub.

    Raises:
        InputError: It does not exist, has no end-of-text token, or has no backend of the `tokenizers` library.
    """
    from transformers import AutoTokenizer

    folder = download(name, _OPTION, _FILES)
    if not has_tokenizer(folder):  # transformers would make up an empty one
        raise InputError(f"{name} holds no tokenizer.", f"Name another: {_OPTION}, or --data.tokenizer train")
    with explain_hub_errors(name, _OPTION):
        loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None or loaded.eos_token is None:
        raise InputError(
            f"{name}: this tokenizer has no fast form or no end-of-text token.",
            "Use one that has both, for instance GPT-2's.",
        )
    return restore_tokenizer(store_tokenizer(loaded))


def has_tokenizer(folder: Path) -> bool:
    """Returns whether a folder holds a tokenizer."""
    return any((folder / file).is_file() for file in _VOCABULARIES)


def read_tokenizer_text(name: str, cache: Path) -> str:
    """Returns a tokenizer from a folder or the Hub as text, for `restore_tokenizer`.

    The text is cached by the content of the tokenizer's files: `transformers` is slow to load and need not run again.

    Args:
        name: A folder or a name on the Hub.
        cache: Folder of the cache; the text is kept in its subfolder `tokenizers`.

    Raises:
        InputError: See `load_tokenizer`.
    """
    from importlib.metadata import version

    folder = download(name, _OPTION, _FILES)
    digest = sha256(version("transformers").encode() + _STORED)
    for file in sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _SUFFIXES):
        digest.update(file.name.encode() + file.read_bytes())
    cached = cache / "tokenizers" / f"{digest.hexdigest()[:24]}.txt"
    if not cached.is_file():
        write_text(cached, store_tokenizer(load_tokenizer(name)))
        release_freed_memory()
    return cached.read_text(encoding="utf-8")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE tokenizer of GPT-2's kind; equal texts give equal tokenizers.

    Args:
        texts: Texts to learn the merges from.
        vocab_size: Number of tokens, the 256 bytes and the end token included.
    """
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return restore_tokenizer(json.dumps({"tokenizer": backend.to_str(), "special": {"eos_token": END}}))


def store_tokenizer(tokenizer: Any) -> str:
    """Serializes a tokenizer with a backend as text, for `restore_tokenizer` and `StoredTokenizer`."""
    special = {key: getattr(tokenizer, key) for key in _SPECIAL if getattr(tokenizer, key, None)}
    stored = {"tokenizer": tokenizer.backend_tokenizer.to_str(), "special": special}
    template = tokenizer.chat_template
    if isinstance(template, dict):  # several, by name
        template = template.get("default")
    return json.dumps({**stored, "chat_template": template} if template else stored)


def restore_tokenizer(text: str) -> PreTrainedTokenizerFast:
    """Restores a tokenizer from the text of `store_tokenizer`. Without a padding token it pads with the end token."""
    from transformers import PreTrainedTokenizerFast

    stored = json.loads(text)
    special = {"pad_token": stored["special"]["eos_token"], **stored["special"]}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(stored["tokenizer"]), **special)
    tokenizer.chat_template = stored.get("chat_template")
    return tokenizer


def add_tokens(text: str, words: Iterable[str]) -> str:
    """Adds words to a tokenizer, each as a token of its own; they may occur in any text.

    Args:
        text: Of `store_tokenizer`.
        words: What to add, in order.

    Returns:
        The tokenizer with these words, as text. Their ids follow its greatest one, in order.

    Raises:
        InputError: The tokenizer has such a token already, or its ids have gaps, so that a new id would not be the
            greatest one and could be another token's.
    """
    words = list(words)
    if not words:
        return text
    stored = json.loads(text)
    backend = Tokenizer.from_str(stored["tokenizer"])
    first = max(backend.get_vocab().values()) + 1
    for number, word in enumerate(words, first):
        if backend.token_to_id(word) is not None:
            raise InputError(f"--data.add_tokens: the tokenizer has a token {word!r} already.", "Leave it out.")
        backend.add_tokens([AddedToken(word, normalized=False)])
        if backend.token_to_id(word) != number:
            raise InputError(
                f"--data.add_tokens: the tokenizer's ids have gaps, and {word!r} would get one below its greatest.",
                "Leave --data.add_tokens out, or use another tokenizer.",
            )
    return json.dumps({**stored, "tokenizer": backend.to_str()})


def find_missing_tokens(text: str, words: Iterable[str]) -> list[str]:
    """Returns the words that were not added to a tokenizer, given as text of `store_tokenizer`."""
    words = list(words)
    if not words:
        return []
    added = {token["content"] for token in split_backend(json.loads(text)["tokenizer"])[0]["added_tokens"]}
    return [word for word in words if word not in added]


class StoredTokenizer:
    """What an `Encoder` needs of a tokenizer, read from the text of `store_tokenizer` without `transformers`.

    Attributes:
        text: The backend as JSON, as by `Tokenizer.to_str`.
        eos_token, eos_token_id: The end token and its id.
    """

    def __init__(self, text: str) -> None:
        stored = json.loads(text)
        self.text: str = stored["tokenizer"]
        self.eos_token: str = stored["special"]["eos_token"]
        added = {token["content"]: token["id"] for token in split_backend(self.text)[0]["added_tokens"]}
        self.eos_token_id: int = added[self.eos_token]

    @cached_property
    def vocab_size(self) -> int:
        """The number of ids: every id is below it."""
        return max(self.backend_tokenizer.get_vocab().values()) + 1

    @cached_property
    def backend_tokenizer(self) -> Tokenizer:
        """The backend, parsed on first use."""
        return Tokenizer.from_str(self.text)


def make_splitting_tokenizer(text: str) -> Tokenizer:
    """Makes a tokenizer that splits special tokens in a text into ordinary tokens, without padding or truncation.

    Args:
        text: A backend as JSON, as by `Tokenizer.to_str`.
    """
    backend = Tokenizer.from_str(text)
    backend.encode_special_tokens = True
    backend.no_padding()
    backend.no_truncation()
    return backend
