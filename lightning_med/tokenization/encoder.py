"""Text -> token ids, segment by segment, with what each token is for."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from lightning_med.tokenization.fast_bpe import FastBPE, make_fast_bpe
from lightning_med.tokenization.prompts import Prompt, quote_roles
from lightning_med.tokenization.tokenizer import Rules, StoredRules, make_splitting_tokenizer
from lightning_med.utils.errors import InputError

PROMPT, QUESTION, ANSWER = 0, 1, 2  # what a token is for: never learned, learned by weight, learned
CYCLE = np.array([PROMPT, QUESTION, PROMPT, ANSWER], dtype=np.uint8)  # the parts of a consultation, over and over
MIN_QUESTION = 32  # tokens of a question kept before an answer is cut


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
        return expand_runs(np.array(self.runs))


def expand_runs(runs: np.ndarray) -> np.ndarray:
    """The part of each token, `[tokens]`, uint8, from the lengths of the stretches."""
    return np.repeat(np.resize(CYCLE, len(runs)), runs)


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

    def __init__(self, tokenizer: Rules, prompt: Prompt, max_length: int, swift: FastBPE | None = None) -> None:
        self.tokenizer: Any = tokenizer
        self.prompt, self.max_length, self._swift = prompt, max_length, swift
        framing = [prompt.opening, prompt.answer_prefix, prompt.question_prefix]
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
        found = make_fast_bpe(
            rules.text, lambda text: make_splitting_tokenizer(rules.text).encode(text, add_special_tokens=False).ids
        )
        return cls(rules, prompt, max_length, found)

    def encode(self, questions: list[str], answers: list[str], turns: list[int] | None = None) -> list[Encoded]:
        """Consultations, cut to `max_length` so that the answer survives first; an answer that is cut has no end.

        Args:
            questions, answers: One an exchange.
            turns: The exchanges of each conversation; by default each is one of its own. Of a conversation too long,
                the exchanges that fit are kept.
        """
        answers = list(map(quote_roles, answers))
        texts = [f" {text}" for text in (*map(quote_roles, questions), *answers)]
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
            *self._ids([f" {quote_roles(question)}"])[0][: max(room, 1)],
            *self._handover.tolist(),
        ]

    @property
    def frame(self) -> int:
        """Tokens of a prompt beside its question."""
        return len(self._opening) + len(self._handover)

    @cached_property
    def _backend(self) -> Tokenizer:
        return make_splitting_tokenizer(self.tokenizer.backend_tokenizer.to_str())

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
