"""Text -> token ids, segment by segment, with what each token is for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lightning_med.data import bpe
from lightning_med.data.prompts import Prompt, without_roles
from lightning_med.errors import InputError
from lightning_med.files import write_whole
from lightning_med.hub import fetched, reaching
from lightning_med.memory import give_back_freed_memory

if TYPE_CHECKING:  # transformers is imported where a whole tokenizer is made: the processes that encode need none
    from transformers import PreTrainedTokenizerFast

PROMPT, QUESTION, ANSWER = 0, 1, 2  # what a token is for: never learned, learned by weight, learned
CYCLE = np.array([PROMPT, QUESTION, PROMPT, ANSWER], dtype=np.uint8)  # the parts of a consultation, over and over
END = "<|endoftext|>"
MIN_QUESTION = 32  # tokens of a question kept before an answer is cut
_OPTION, _FILES = "--data.tokenizer FOLDER", ["*.json", "*.txt", "*.model"]
_SPECIAL = ("eos_token", "bos_token", "pad_token", "unk_token")


def load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer from a folder or the Hub, reduced to its rules and special tokens.

    Raises:
        InputError: It is not there, has no end-of-text token, or is not of the `tokenizers` library.
    """
    from transformers import AutoTokenizer

    folder = fetched(name, _OPTION, _FILES)
    with reaching(name, _OPTION):
        loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None or loaded.eos_token is None:
        raise InputError(f"{name}: this tokenizer has no fast form or no end-of-text token.", "GPT-2's has both.")
    special = {key: getattr(loaded, key) for key in _SPECIAL if getattr(loaded, key, None)}
    return restore_tokenizer(json.dumps({"tokenizer": backend.to_str(), "special": special}))


def rules_of(name: str, cache: Path) -> str:
    """A tokenizer as text, for `restore_tokenizer`; read from its files once, then from a folder of ours.

    Raises:
        InputError: See `load_tokenizer`.
    """
    import transformers

    folder = fetched(name, _OPTION, _FILES)
    digest = sha256(transformers.__version__.encode())
    for file in sorted(
        file for file in folder.iterdir() if file.is_file() and file.suffix in (".json", ".txt", ".model")
    ):
        digest.update(file.name.encode() + file.read_bytes())
    kept = cache / "tokenizers" / f"{digest.hexdigest()[:24]}.txt"
    if not kept.is_file():
        write_whole(kept, store_tokenizer(load_tokenizer(name)))
        give_back_freed_memory()
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


@dataclass
class Encoded:
    """One consultation as the model sees it.

    Attributes:
        input_ids: `[length]`, integer.
        runs: Tokens of each stretch, in turn prompt, question, prompt, answer, and so on; see `CYCLE`.
        answer_bytes: UTF-8 bytes of the answers that are learned, the unit of bits per byte.
        cut: Whether `max_length` cost it tokens.
        whole: Tokens of its questions, its answers and all together, before anything was cut.
    """

    input_ids: np.ndarray
    runs: list[int]
    answer_bytes: int
    cut: bool
    whole: tuple[int, int, int]

    @property
    def parts(self) -> np.ndarray:
        """`[length]`, uint8: `PROMPT`, `QUESTION` or `ANSWER`; the end token belongs to the answer."""
        return expand(np.array(self.runs))


def expand(runs: np.ndarray) -> np.ndarray:
    """The part of each token, `[tokens]`, uint8, from the lengths of the stretches."""
    return np.repeat(np.resize(CYCLE, len(runs)), runs)


def splitting(rules: str) -> Tokenizer:
    """A tokenizer that splits special tokens into ordinary ones, pads nothing and cuts nothing.

    Args:
        rules: Of `Tokenizer.to_str`.
    """
    backend = Tokenizer.from_str(rules)
    backend.encode_special_tokens = True
    backend.no_padding()
    backend.no_truncation()
    return backend


def is_swift(rules: str) -> bool:
    """Whether `bpe.Swift` gives a tokenizer's own ids."""
    backend = splitting(rules)
    found = bpe.swift(rules, lambda text: backend.encode(text, add_special_tokens=False).ids)
    return found is not None and bpe.agrees(found, backend)


class Encoder:
    """Encodes consultations and questions under one prompt and one length.

    Text from outside is encoded with special tokens split into ordinary ones: nothing a person types can become a
    control token, and no line of it opens a role.

    Args:
        tokenizer: With an `eos_token`.
        prompt: The text around question and answer.
        max_length: Tokens a consultation may have, prompt and end included.

    Raises:
        InputError: `max_length` leaves no room beside the prompt.
    """

    def __init__(self, tokenizer: Rules, prompt: Prompt, max_length: int, swift: bpe.Swift | None = None) -> None:
        self.tokenizer: Any = tokenizer
        self.prompt, self.max_length, self._swift = prompt, max_length, swift
        framing = [prompt.opening, prompt.handover, prompt.following]
        self._opening, self._handover, self._following = map(np.array, self._ids(framing))
        self._end = np.array([tokenizer.eos_token_id])
        self.room = max_length - self.frame
        if self.room < MIN_QUESTION + 8:
            raise InputError(
                f"max_length {max_length} leaves no room for a consultation: the prompt alone has {self.frame} tokens.",
                f"Give --data.max_length {self.frame + MIN_QUESTION + 64} or more, or a shorter --data.system_prompt.",
            )

    @classmethod
    def stored(cls, text: str, prompt: Prompt, max_length: int, swift: bool) -> Encoder:
        """An encoder with the rules that `store_tokenizer` wrote down.

        Args:
            text: The rules.
            prompt, max_length: See the class.
            swift: What `is_swift` said of these rules.
        """
        rules = StoredRules(text)
        if not swift:
            return cls(rules, prompt, max_length)
        found = bpe.swift(rules.text, lambda text: splitting(rules.text).encode(text, add_special_tokens=False).ids)
        return cls(rules, prompt, max_length, found)

    def encode(self, questions: list[str], answers: list[str], turns: list[int] | None = None) -> list[Encoded]:
        """Consultations, cut to `max_length` so that the answer survives first; an answer that is cut has no end.

        Args:
            questions, answers: One an exchange.
            turns: The exchanges of each conversation; by default each is one of its own. Of a conversation too long,
                the exchanges that fit are kept.
        """
        answers = list(map(without_roles, answers))
        texts = [f" {text}" for text in (*map(without_roles, questions), *answers)]
        ids = self._swift.ids(texts) if self._swift else list(map(np.array, self._ids(texts)))
        exchanges = list(zip(ids, ids[len(questions) :], answers, strict=False))
        if turns is None:
            return [self._join(exchange) for exchange in exchanges]
        ends = np.cumsum(turns).tolist()
        return [
            self._joined(exchanges[end - count : end]) if count > 1 else self._join(exchanges[end - 1])
            for end, count in zip(ends, turns, strict=True)
        ]

    def of_length(self, max_length: int) -> Encoder:
        """The same with another length; what is costly to make is shared."""
        other = copy(self)
        other.max_length, other.room = max_length, max_length - self.frame
        return other

    def encode_question(self, question: str, room: int) -> list[int]:
        """The ids of a prompt that ends where the answer begins, its question cut to `room` tokens."""
        return [
            *self._opening.tolist(),
            *self._ids([f" {without_roles(question)}"])[0][: max(room, 1)],
            *self._handover.tolist(),
        ]

    @property
    def frame(self) -> int:
        """Tokens of a prompt beside its question."""
        return len(self._opening) + len(self._handover)

    @cached_property
    def _backend(self) -> Tokenizer:
        return splitting(self.tokenizer.backend_tokenizer.to_str())

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if self._swift:
            return [ids.tolist() for ids in self._swift.ids(texts)]
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def _decoded(self, ids: list[int]) -> str:
        return self._swift.decode(ids) if self._swift else str(self._backend.decode(ids, skip_special_tokens=False))

    def _join(self, exchange: tuple[np.ndarray, np.ndarray, str]) -> Encoded:
        question, answer, text = exchange
        end = self._end
        cut = len(question) + len(answer) + 1 > self.room
        size = len(text.encode("utf-8", "surrogatepass"))
        whole = (len(question), len(answer) + 1, self.frame + len(question) + len(answer) + 1)
        if cut:
            question = question[: max(self.room - len(answer) - 1, MIN_QUESTION)]
            if len(question) + len(answer) + 1 > self.room:
                answer, end = answer[: self.room - len(question)], end[:0]
                size = len(self._decoded(answer.tolist()).lstrip().encode())
        ids = np.concatenate([self._opening, question, self._handover, answer, end])
        runs = [len(self._opening), len(question), len(self._handover), len(answer) + len(end)]
        return Encoded(ids, runs, size, cut, whole)

    def _joined(self, exchanges: list[tuple[np.ndarray, np.ndarray, str]]) -> Encoded:
        done = self._join(exchanges[0])
        pieces, whole = [done.input_ids], np.array(done.whole)
        for question, answer, text in exchanges[1:]:
            stretch = [self._following, question, self._handover, np.concatenate([answer, self._end])]
            whole += (len(question), len(answer) + 1, sum(map(len, stretch)))
            done.cut |= int(whole[2]) > self.max_length
            if done.cut:
                continue
            pieces += stretch
            done.runs += map(len, stretch)
            done.answer_bytes += len(text.encode("utf-8", "surrogatepass"))
        done.input_ids, done.whole = np.concatenate(pieces), tuple(whole.tolist())
        return done
