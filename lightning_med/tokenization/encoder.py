"""Encodes consultations: token ids and the part of the consultation that each token belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from lightning_med.tokenization.backend_text import split_backend
from lightning_med.tokenization.consultation import EncodedConsultation, Exchange, join_exchanges
from lightning_med.tokenization.prompt_choice import is_encoded_by_segments
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import StoredTokenizer, make_splitting_tokenizer
from lightning_med.tokenization.whole_text import SEGMENTS, WholeTextEncoder
from lightning_med.utils.errors import InputError

MIN_QUESTION = 32  # tokens of a question that are kept before its answer is cut
_Conversations = Iterator[list[Exchange]]


class Encoder:
    """Encodes consultations and questions with one prompt and one maximal length.

    Questions and answers are untrusted text: special tokens spelled in them are encoded as ordinary text, and markers
    of turns are changed. So no text yields a control token or opens a turn. The ids are those that the tokenizer gives
    for the whole text: where its rules allow it, the segments are encoded one by one, else `WholeTextEncoder` does it.

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
        self.prompt = prompt
        stored = isinstance(tokenizer, StoredTokenizer)
        self._text: str = tokenizer.text if stored else tokenizer.backend_tokenizer.to_str()
        self._whole: WholeTextEncoder | None = None
        self._end = np.array([tokenizer.eos_token_id])
        if is_encoded_by_segments(prompt, split_backend(self._text)[0]):
            fixed = [prompt.opening, prompt.answer_prefix, prompt.question_prefix]
            self._opening, self._answer_prefix, self._question_prefix = self._encode_texts(fixed)
        else:
            self._ending = prompt.end or tokenizer.eos_token
            self._whole = WholeTextEncoder(self._text, (*prompt.fixed_texts, self._ending))
            (segments,) = self._whole.encode([prompt.list_segments([("x", "x")], self._ending)])
            self._opening, self._answer_prefix = segments[0], segments[2]
        self._set_length(max_length)

    def _set_length(self, max_length: int) -> None:
        self.max_length, self.budget = max_length, max_length - self.prompt_length
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

    @cached_property
    def stops(self) -> list[int]:
        """Ids of the tokens that an answer is over at, its learned end first."""
        if not self.prompt.end:
            return [self.tokenizer.eos_token_id]
        ids = [
            self.tokenizer.backend_tokenizer.token_to_id(token) for token in (self.prompt.end_token, *self.prompt.stops)
        ]
        return [token for token in ids if token is not None]

    def encode(
        self,
        questions: list[str],
        answers: list[str],
        turns: list[int] | None = None,
        learned: list[bool] | None = None,
    ) -> list[EncodedConsultation]:
        """Encodes consultations and cuts them to `max_length`.

        A single exchange loses the end of its question first, down to `MIN_QUESTION` tokens, then the end of its
        answer; a cut answer has no end token. A longer conversation keeps the leading exchanges that fit whole. If none
        of these is learned, it loses as many of its first exchanges as it must to keep the first one that is.

        Args:
            questions: Questions of all exchanges.
            answers: Answers of all exchanges, as many.
            turns: Exchanges of each conversation, in order; `None` where each is a conversation of its own.
            learned: Whether each answer is learned, at least one of each conversation; `None` where all are.

        Returns:
            One item per conversation.
        """
        turns = [1] * len(questions) if turns is None else turns
        encode = self._encode_by_segments if self._whole is None else self._encode_whole
        texts, marks, rows = zip(questions, answers, strict=True), iter(learned or [True] * len(questions)), []
        for exchanges in encode(questions, answers, turns):
            own = list(islice(texts, len(exchanges)))
            for exchange, mark in zip(exchanges, marks, strict=False):
                exchange.learned = mark
            row = join_exchanges(exchanges, self.max_length, self._cut)
            rows.append(row if exchanges[0].learned or any(row.runs[3::4]) else self._encode_later(own, exchanges, row))
        return rows

    def encode_question(self, question: str, max_tokens: int) -> list[int]:
        """Encodes a prompt for generation: it ends where the answer starts.

        Args:
            question: Untrusted text.
            max_tokens: Tokens of the question that are kept; at least one is.
        """
        before, prefix = self._opening, self._answer_prefix
        if self._whole is None:
            (ids,) = self._encode_texts([f" {self.prompt.protect(question)}"])
        else:
            ((before, ids, own_prefix),) = self._whole.encode(
                [self.prompt.list_segments([(question, "")], self._ending)[:3]]
            )
            max_tokens += self.prompt_length - len(before) - len(own_prefix)
            if len(ids) <= max_tokens:
                prefix = own_prefix
            else:
                max_tokens += len(own_prefix) - len(prefix)
        return np.concatenate([before, ids[: max(max_tokens, 1)], prefix]).tolist()

    def encode_turns(self, questions: list[str], answers: list[str]) -> list[int]:
        """Returns the ids of a conversation, not cut, up to where its last answer starts, which is not encoded."""
        if self._whole is None:
            (exchanges,) = self._encode_by_segments(questions, answers, [len(questions)])
            pieces = [piece for exchange in exchanges for piece in exchange.pieces][:-2]
        else:
            segments = self.prompt.list_segments(zip(questions, answers, strict=True), self._ending)
            (pieces,) = self._whole.encode([segments[:-2]])
        return np.concatenate(pieces).tolist()

    # ------------------------------------------------------------------ ids of all segments

    @cached_property
    def _backend(self) -> Tokenizer:
        return make_splitting_tokenizer(self._text)

    def _encode_texts(self, texts: list[str]) -> list[np.ndarray]:
        encodings = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    def _encode_by_segments(self, questions: list[str], answers: list[str], turns: list[int]) -> _Conversations:
        questions, answers = list(map(self.prompt.protect, questions)), list(map(self.prompt.protect, answers))
        ids = self._encode_texts([f" {text}" for text in (*questions, *answers)])
        parts = zip(ids[: len(questions)], ids[len(questions) :], answers, strict=True)
        before, prefix, end = self._question_prefix, self._answer_prefix, self._end
        for count in turns:
            exchanges = [
                Exchange(before, question, prefix, answer, end, text) for question, answer, text in islice(parts, count)
            ]
            exchanges[0].before = self._opening
            yield exchanges

    def _encode_whole(self, questions: list[str], answers: list[str], turns: list[int]) -> _Conversations:
        assert self._whole is not None
        rest = iter(zip(questions, answers, strict=True))
        rows = [self.prompt.list_segments(islice(rest, count), self._ending) for count in turns]
        for row, ids in zip(rows, self._whole.encode(rows), strict=True):
            exchanges = []
            for place in range(0, len(row), SEGMENTS):
                before, question, prefix, answer, end = ids[place : place + SEGMENTS]
                text = row[place + 3].removeprefix(self.prompt.answer_lead)
                exchanges.append(Exchange(before, question, prefix, answer, end, text))
            yield exchanges

    # ------------------------------------------------------------------ cutting to length

    def _encode_later(
        self, texts: list[tuple[str, str]], exchanges: list[Exchange], row: EncodedConsultation
    ) -> EncodedConsultation:
        """Encodes a conversation from a later exchange on, because its first learned answer does not fit otherwise."""
        learned = [exchange.learned for exchange in exchanges]
        first = learned.index(True)  # `left`: tokens from each exchange to the end of this one
        room = [self.max_length + len(exchange.before) - len(self._opening) for exchange in exchanges]
        left = np.cumsum([sum(exchange.runs) for exchange in exchanges[first::-1]])[::-1]
        start = next((place for place in range(1, first) if left[place] <= room[place]), first)
        questions, answers = map(list, zip(*texts[start:], strict=True))
        (later,) = self.encode(questions, answers, [len(questions)], learned[start:])
        return replace(later, cut=True, uncut_counts=row.uncut_counts)

    def _cut(self, exchange: Exchange, excess: int) -> Exchange:
        """Cuts an exchange that has too many tokens."""
        kept, answer = copy(exchange), len(exchange.answer) + len(exchange.end)
        room = self.max_length - len(exchange.before) - len(self._answer_prefix)
        length = max(min(len(exchange.question) - excess, room - answer), MIN_QUESTION)
        if length < len(exchange.question):
            # The last token of a question may be part of the prefix: what is cut is followed by a prefix of its own.
            kept.question, kept.prefix = exchange.question[:length], self._answer_prefix
        room = max(self.max_length - sum(kept.runs[:3]), 0)
        if answer > room:
            kept.answer, kept.end = exchange.answer[:room], exchange.end[:0]
            backend = self._backend if self._whole is None else self._whole.tokenizer
            kept.text = backend.decode(kept.answer.tolist(), skip_special_tokens=False).lstrip()
        return kept


def replace_system(encoder: Encoder, system: str, max_length: int) -> Encoder:
    """Returns a copy of an encoder with another system prompt, trusted like the first, and another maximal length.

    Raises:
        InputError: It leaves no room.
    """
    other = copy(encoder)
    other.prompt = replace(encoder.prompt, system=system)
    if encoder._whole is None:
        (other._opening,) = encoder._encode_texts([other.prompt.opening])
    else:
        other._whole = encoder._whole.fork()
        (row,) = other._whole.encode([other.prompt.list_segments([("x", "x")], encoder._ending)])
        other._opening = row[0]
    other._set_length(max_length)
    return other
