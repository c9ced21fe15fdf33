"""Encodes consultations segment by segment: token ids and the part of the consultation that each token belongs to."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from lightning_med.tokenization.prompts import Prompt, quote_roles
from lightning_med.tokenization.tokenizer import StoredTokenizer, make_splitting_tokenizer
from lightning_med.utils.errors import InputError

PROMPT, QUESTION, ANSWER = 0, 1, 2  # parts: never in the loss; in the loss by `question_weight`; always in the loss
CYCLE = np.array([PROMPT, QUESTION, PROMPT, ANSWER], dtype=np.uint8)  # parts of one exchange, repeated for each
MIN_QUESTION = 32  # tokens of a question that are kept before its answer is cut

Exchange = tuple[np.ndarray, np.ndarray, str]  # ids of the question, ids of the answer, text of the answer


@dataclass
class EncodedConsultation:
    """Token ids of one consultation.

    Attributes:
        input_ids: `[length]`, integer.
        runs: Token counts of the segments in order; their parts repeat `CYCLE`.
        answer_bytes: UTF-8 bytes of the answers in `input_ids`, the denominator of bits per byte.
        cut: Whether tokens were removed to fit `max_length`.
        uncut_counts: Tokens of the questions, of the answers and of everything, before cutting.
    """

    input_ids: np.ndarray
    runs: list[int]
    answer_bytes: int
    cut: bool
    uncut_counts: tuple[int, int, int]

    @property
    def parts(self) -> np.ndarray:
        """`[length]`, uint8: `PROMPT`, `QUESTION` or `ANSWER`; the end token is part of the answer."""
        return expand_runs(np.array(self.runs))


def expand_runs(runs: np.ndarray) -> np.ndarray:
    """Returns the part of each token, `[tokens]`, uint8, given the token counts of the segments, `[segments]`."""
    return np.repeat(np.resize(CYCLE, len(runs)), runs)


class Encoder:
    """Encodes consultations and questions with one prompt and one maximal length.

    Questions and answers are untrusted text: special tokens spelled in them are encoded as ordinary text, and role
    markers at the start of a line are quoted. So no text yields a control token or opens a turn.

    Args:
        tokenizer: Must have an `eos_token`.
        prompt: Text around the questions and answers.
        max_length: Maximal tokens of a consultation, prompt and end token included.

    Attributes:
        budget: Tokens left for a question, its answer and the end token.

    Raises:
        InputError: `max_length` leaves too few tokens beside the prompt.
    """

    def __init__(self, tokenizer: Any, prompt: Prompt, max_length: int) -> None:
        self.tokenizer = tokenizer  # a `PreTrainedTokenizerFast` or a `StoredTokenizer`
        self.prompt, self.max_length = prompt, max_length
        fixed = [prompt.opening, prompt.answer_prefix, prompt.question_prefix]
        self._opening, self._answer_prefix, self._question_prefix = self._encode_texts(fixed)
        self._end = np.array([tokenizer.eos_token_id])
        self.budget = max_length - self.prompt_length
        if self.budget < MIN_QUESTION + 8:
            enough = self.prompt_length + MIN_QUESTION + 64
            raise InputError(
                f"max_length {max_length} leaves no room for a consultation: the prompt alone has {self.prompt_length}"
                " tokens.",
                f"Give --data.max_length {enough} or more, or a shorter --data.system_prompt.",
            )

    def with_max_length(self, max_length: int) -> Encoder:
        """Returns a copy with another maximal length that shares the tokenizer."""
        other = copy(self)
        other.max_length, other.budget = max_length, max_length - self.prompt_length
        return other

    @property
    def prompt_length(self) -> int:
        """Tokens of a single exchange's prompt: all but its question, answer and end token."""
        return len(self._opening) + len(self._answer_prefix)

    def encode(
        self, questions: list[str], answers: list[str], turns: list[int] | None = None
    ) -> list[EncodedConsultation]:
        """Encodes consultations and cuts them to `max_length`.

        A single exchange loses the end of its question first, down to `MIN_QUESTION` tokens, then the end of its
        answer; a cut answer has no end token. A longer conversation keeps the leading exchanges that fit whole.

        Args:
            questions: Questions of all exchanges.
            answers: Answers of all exchanges, as many.
            turns: Exchanges of each conversation, in order; `None` where each is a conversation of its own.

        Returns:
            One item per conversation.
        """
        answers = [quote_roles(answer) for answer in answers]
        texts = [f" {text}" for text in (*map(quote_roles, questions), *answers)]
        ids = self._encode_texts(texts)
        exchanges = list(zip(ids[: len(questions)], ids[len(questions) :], answers, strict=True))
        if turns is None:
            return [self._join_segments(exchange) for exchange in exchanges]
        ends = np.cumsum(turns).tolist()
        return [self._join_exchanges(exchanges[end - count : end]) for end, count in zip(ends, turns, strict=True)]

    def encode_question(self, question: str, max_tokens: int) -> list[int]:
        """Encodes a prompt for generation: it ends where the answer starts.

        Args:
            question: Untrusted text.
            max_tokens: Tokens of the question that are kept; at least one is.
        """
        (ids,) = self._encode_texts([f" {quote_roles(question)}"])
        return np.concatenate([self._opening, ids[: max(max_tokens, 1)], self._answer_prefix]).tolist()

    @cached_property
    def _backend(self) -> Tokenizer:
        stored = isinstance(self.tokenizer, StoredTokenizer)
        return make_splitting_tokenizer(self.tokenizer.text if stored else self.tokenizer.backend_tokenizer.to_str())

    def _encode_texts(self, texts: list[str]) -> list[np.ndarray]:
        encodings = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    def _join_segments(self, exchange: Exchange) -> EncodedConsultation:
        question, answer, text = exchange
        end = self._end
        content = len(question) + len(answer) + 1
        uncut_counts = (len(question), len(answer) + 1, self.prompt_length + content)
        answer_bytes = _count_bytes(text)
        if content > self.budget:
            question = question[: max(self.budget - len(answer) - 1, MIN_QUESTION)]
            if len(question) + len(answer) + 1 > self.budget:
                answer, end = answer[: self.budget - len(question)], end[:0]
                answer_bytes = _count_bytes(self._backend.decode(answer.tolist(), skip_special_tokens=False).lstrip())
        ids = np.concatenate([self._opening, question, self._answer_prefix, answer, end])
        runs = [len(self._opening), len(question), len(self._answer_prefix), len(answer) + len(end)]
        return EncodedConsultation(ids, runs, answer_bytes, content > self.budget, uncut_counts)

    def _join_exchanges(self, exchanges: list[Exchange]) -> EncodedConsultation:
        joined = self._join_segments(exchanges[0])
        pieces, counts = [joined.input_ids], np.array(joined.uncut_counts)
        for question, answer, text in exchanges[1:]:
            segments = [self._question_prefix, question, self._answer_prefix, np.concatenate([answer, self._end])]
            counts += (len(question), len(answer) + 1, sum(map(len, segments)))
            joined.cut |= int(counts[2]) > self.max_length
            if not joined.cut:
                pieces += segments
                joined.runs += map(len, segments)
                joined.answer_bytes += _count_bytes(text)
        joined.input_ids, joined.uncut_counts = np.concatenate(pieces), tuple(counts.tolist())
        return joined


def _count_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
