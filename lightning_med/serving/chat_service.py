"""Answers to conversations, many at once: triage, the model, the guard. The terminal, the page and the API use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

from lightning_med.inference.decoding import Decoding
from lightning_med.inference.engines.scheduler import Engine
from lightning_med.inference.generation import limit_new_tokens
from lightning_med.safety import guard
from lightning_med.safety.answers.guarded_stream import GuardedStream
from lightning_med.safety.messages.conversation import list_readable, triage_conversation
from lightning_med.serving.conversation import Conversation, LengthError
from lightning_med.serving.reply import Reply, Written
from lightning_med.tokenization.conversations import add_to_system, count_opening, encode_conversation
from lightning_med.tokenization.encoder import Encoder
from lightning_med.utils.errors import InputError


class Writer(Protocol):
    """A model, wherever it runs, that continues a conversation."""

    decoding: Decoding

    def write(self, conversation: Conversation, decoding: Decoding) -> Written:
        """Begins an answer. Raises `InputError` where the conversation does not fit."""
        ...

    @property
    def load(self) -> tuple[int, int]:
        """How many answers are being written, and how many wait."""
        ...

    def close(self) -> None:
        """Breaks off all answers."""
        ...


class EngineWriter:
    """Writes with an engine of this process.

    Args:
        engine: Running.
        encoder: With the prompt and the tokenizer of the model.
        decoding: The model's own decoding settings.
    """

    def __init__(self, engine: Engine, encoder: Encoder, decoding: Decoding) -> None:
        self.engine, self.decoding = engine, decoding
        self._encoder = encoder
        self._get_encoder: Callable[[str], tuple[Encoder, int]] = lru_cache(maxsize=16)(self._make_encoder)

    def write(self, conversation: Conversation, decoding: Decoding) -> Written:
        """See `Writer`."""
        (encoder, opening), length = self._get_encoder(conversation.system), self.engine.backend.length
        count = limit_new_tokens(length, encoder, decoding.max_new_tokens)
        questions, answers = list(conversation.questions), list(conversation.answers)
        prompt = encode_conversation(encoder, questions, answers, length - count)
        decoding = replace(decoding, max_new_tokens=count)
        stream = self.engine.submit(prompt, encoder, decoding, opening=opening, stop_texts=conversation.stops)
        return Written(stream, len(prompt))

    @property
    def load(self) -> tuple[int, int]:
        """See `Writer`."""
        return self.engine.load

    def close(self) -> None:
        """See `Writer`."""
        self.engine.close()

    def _make_encoder(self, system: str) -> tuple[Encoder, int]:
        """The encoder whose system prompt has a client's text after ours, and the tokens that all its prompts share."""
        encoder = self._encoder
        if system:
            try:
                encoder = add_to_system(encoder, system, 3 * self.engine.backend.length // 4)
            except InputError as error:
                raise LengthError("The system message is too long for this model.", "Shorten it.") from error
        return encoder, count_opening(encoder)


class ChatService:
    """Answers conversations; safe to use from several threads.

    Args:
        writer: The model.
        region: Whose emergency numbers the advice names; see `triage`.
        safety: `False` switches triage and guard off, and every answer says so.
    """

    def __init__(self, writer: Writer, region: str | None = None, safety: bool = True) -> None:
        self.writer, self.region, self.safety = writer, region, safety

    def reply(self, conversation: Conversation, decoding: Decoding | None = None) -> Reply:
        """Begins an answer to the last message of a conversation; a dangerous one gets fixed advice at once.

        Args:
            conversation: What was said.
            decoding: Settings; default: the model's own.

        Raises:
            InputError: The conversation does not fit the model.
        """
        question, decoding = conversation.questions[-1], decoding or self.writer.decoding
        if not self.safety:
            return Reply(question, self.writer.write(conversation, decoding), None)
        verdict = triage_conversation(conversation.heard or conversation.questions, self.region)
        if not verdict.answerable:
            return Reply(question, None, None, guard(question, "", self.region, verdict))
        written = self.writer.write(self._leave_out_refused(conversation), decoding)
        return Reply(question, written, GuardedStream(question, verdict, self.region))

    def _leave_out_refused(self, conversation: Conversation) -> Conversation:
        """The conversation without the exchanges that the model must not go on with."""
        places = list_readable(conversation.questions, self.region)
        questions = tuple(conversation.questions[place] for place in places)
        return replace(conversation, questions=questions, answers=tuple(conversation.answers[i] for i in places[:-1]))

    @property
    def load(self) -> tuple[int, int]:
        """How many answers are being written, and how many wait."""
        return self.writer.load

    def close(self) -> None:
        """Breaks off all answers."""
        self.writer.close()
