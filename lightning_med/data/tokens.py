"""Text -> token ids, segment by segment, with what each token is for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lightning_med.data.prompts import Prompt
from lightning_med.errors import InputError
from lightning_med.hub import fetched, reaching

PROMPT, QUESTION, ANSWER = 0, 1, 2  # what a token is for: never learned, learned by weight, learned
END = "<|endoftext|>"
MIN_QUESTION = 32  # tokens of a question kept before an answer is cut
_SPECIAL = ("eos_token", "bos_token", "pad_token", "unk_token")


def load_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer from a folder or the Hub, reduced to its rules and special tokens.

    Raises:
        InputError: It is not there, has no end-of-text token, or is not of the `tokenizers` library.
    """
    option = "--data.tokenizer FOLDER"
    folder = fetched(name, option, ["*.json", "*.txt", "*.model"])
    with reaching(name, option):
        loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None or loaded.eos_token is None:
        raise InputError(f"{name}: this tokenizer has no fast form or no end-of-text token.", "GPT-2's has both.")
    special = {key: getattr(loaded, key) for key in _SPECIAL if getattr(loaded, key, None)}
    return restore_tokenizer(json.dumps({"tokenizer": backend.to_str(), "special": special}))


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
    stored = json.loads(text)
    special = {"pad_token": stored["special"]["eos_token"], **stored["special"]}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(stored["tokenizer"]), **special)


@dataclass
class Encoded:
    """One consultation as the model sees it.

    Attributes:
        input_ids: `[length]`, int32.
        parts: `[length]`, uint8: `PROMPT`, `QUESTION` or `ANSWER`; the end token belongs to the answer.
        answer_bytes: UTF-8 bytes of the answer that is learned, the unit of bits per byte.
        cut: Whether `max_length` cost it tokens.
    """

    input_ids: np.ndarray
    parts: np.ndarray
    answer_bytes: int
    cut: bool


class Encoder:
    """Encodes consultations and questions under one prompt and one length.

    Text from outside is encoded with special tokens split into ordinary ones: nothing a person types can become a
    control token.

    Args:
        tokenizer: With an `eos_token`.
        prompt: The text around question and answer.
        max_length: Tokens a consultation may have, prompt and end included.

    Raises:
        InputError: `max_length` leaves no room beside the prompt.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, prompt: Prompt, max_length: int) -> None:
        self.tokenizer, self.prompt, self.max_length = tokenizer, prompt, max_length
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.encode_special_tokens = True
        self._backend.no_padding()
        self._backend.no_truncation()
        self._opening, self._handover = self._ids([prompt.opening, prompt.handover])
        self.room = max_length - len(self._opening) - len(self._handover)
        if self.room < MIN_QUESTION + 8:
            used = len(self._opening) + len(self._handover)
            raise InputError(
                f"max_length {max_length} leaves no room for a consultation: the prompt alone has {used} tokens.",
                f"Give --data.max_length {used + MIN_QUESTION + 64} or more, or a shorter --data.system_prompt.",
            )

    def encode(self, questions: list[str], answers: list[str]) -> list[Encoded]:
        """Consultations, cut to `max_length` so that the answer survives first; an answer that is cut has no end."""
        ids = self._ids([f" {text}" for text in questions + answers])
        return [self._join(q, a, t) for q, a, t in zip(ids, ids[len(questions) :], answers, strict=False)]

    def encode_question(self, question: str, room: int) -> list[int]:
        """The ids of a prompt that ends where the answer begins, its question cut to `room` tokens."""
        return self._opening + self._ids([f" {question}"])[0][: max(room, 1)] + self._handover

    @property
    def frame(self) -> int:
        """Tokens of a prompt beside its question."""
        return len(self._opening) + len(self._handover)

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def _join(self, question: list[int], answer: list[int], text: str) -> Encoded:
        end = [self.tokenizer.eos_token_id]
        cut = len(question) + len(answer) + 1 > self.room
        size = len(text.encode("utf-8", "surrogatepass"))
        if cut:
            question = question[: max(self.room - len(answer) - 1, MIN_QUESTION)]
            if len(question) + len(answer) + 1 > self.room:
                answer, end = answer[: self.room - len(question)], []
                size = len(self._backend.decode(answer, skip_special_tokens=False).lstrip().encode())
        ids = self._opening + question + self._handover + answer + end
        parts = np.full(len(ids), PROMPT, dtype=np.uint8)
        parts[len(self._opening) : len(self._opening) + len(question)] = QUESTION
        parts[len(ids) - len(answer) - len(end) :] = ANSWER
        return Encoded(np.array(ids, dtype=np.int32), parts, size, cut)


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes `tokenizer.txt`, the text of `store_tokenizer`, into a prepared data set."""
    (folder / "tokenizer.txt").write_text(store_tokenizer(tokenizer), encoding="utf-8")
