"""A conversation as programs send it: messages with roles, checked and taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lightning_med.tokenization.text_normalization import normalize_whitespace
from lightning_med.utils.errors import InputError

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"
MAX_LENGTH = 20_000  # characters of a message


class LengthError(InputError):
    """A text is longer than what is read."""


@dataclass(frozen=True)
class Message:
    """A message of a conversation.

    Attributes:
        role: `user`, `assistant` or `system`.
        text: Untrusted, also the assistant's: a client may have made it up.
    """

    role: str
    text: str


@dataclass(frozen=True)
class Conversation:
    """What is asked, and what came before.

    Attributes:
        questions: The person's messages; successive ones are joined to one. The last is asked.
        answers: To all questions but the last.
        system: Text that is added to our system prompt; it never replaces it.
        stops: Texts that end the answer and are no part of it.
        heard: All that the person wrote, for triage, also what got no answer and the model does not read; default:
            the questions.
    """

    questions: tuple[str, ...]
    answers: tuple[str, ...] = ()
    system: str = ""
    stops: tuple[str, ...] = ()
    heard: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_messages(cls, messages: Sequence[Message], stops: Sequence[str] = ()) -> Conversation:
        """Takes messages apart.

        Args:
            messages: In order.
            stops: See the attribute.

        Raises:
            InputError: The last is not the person's, one is empty or too long, or a role is unknown.
        """
        turns: list[Message] = []
        system: list[str] = []
        for number, message in enumerate(messages):
            text = normalize_whitespace(message.text)
            if message.role == USER and not text:
                raise InputError(f"messages[{number}] is empty.", "Write a question.")
            where = f"messages[{number}]"
            if message.role not in (USER, ASSISTANT, SYSTEM):
                raise InputError(f"{where}: the role {message.role!r} is unknown.", "Use user, assistant or system.")
            if message.role != SYSTEM and turns and turns[-1].role == message.role:
                text = f"{turns.pop().text}\n{text}"
            if len(text) > MAX_LENGTH:
                raise LengthError(f"{where} has {len(text):,} characters; {MAX_LENGTH:,} are read.", "Shorten it.")
            if message.role == SYSTEM:
                system.append(text)
            else:
                turns.append(Message(message.role, text))
        if not turns or turns[-1].role != USER:
            raise InputError("The last message must be the user's.", "End the conversation with a question.")
        if turns[0].role == ASSISTANT:  # a client's greeting: nothing was asked before it
            turns = turns[1:]
        questions, answers = turns[::2], turns[1::2]
        texts = [tuple(turn.text for turn in part) for part in (questions, answers)]
        return cls(texts[0], texts[1], "\n".join(filter(None, system)), tuple(stops))
