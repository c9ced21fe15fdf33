"""A conversation on the page: what was asked and shown, what the model is told of it, and the alarm above it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace

from lightning_med.safety import Verdict
from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL, URGENT
from lightning_med.serving.conversation import ASSISTANT, USER, Conversation, Message


@dataclass(frozen=True)
class Turn:
    """A question and its answer.

    Attributes:
        question: The person's words.
        shown: The answer as it is shown, or what is said in its place.
        remembered: The answer as the model will see it; `None` where there is none, and the model sees neither.
        key: Names the answer in the file of marks.
    """

    question: str
    shown: str = ""
    remembered: str | None = None
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Alarm:
    """Advice above the conversation.

    Attributes:
        level: `emergency`, `crisis` or `urgent`.
        advice: Fixed text; no model wrote it.
    """

    level: str
    advice: str


@dataclass(frozen=True)
class Talk:
    """A conversation. The server holds it: what a browser sends back of it is never read.

    Attributes:
        turns: The last may be incomplete.
        alarm: Above the conversation, if there is danger.
    """

    turns: tuple[Turn, ...] = ()
    alarm: Alarm | None = None

    def add(self, turn: Turn) -> Talk:
        """Returns the conversation with a further turn."""
        return replace(self, turns=(*self.turns, turn))

    def finish(self, shown: str, remembered: str | None = None) -> Talk:
        """Returns the conversation with this answer to the last question."""
        last = replace(self.turns[-1], shown=shown, remembered=remembered)
        return replace(self, turns=(*self.turns[:-1], last))

    def warn(self, verdict: Verdict | None) -> Talk:
        """Returns the conversation with the alarm that a verdict on the last question asks for.

        An emergency stays in view until a question is ordinary: an urgent one does not lift it.
        """
        if verdict is not None and verdict.level in (EMERGENCY, CRISIS):
            return replace(self, alarm=Alarm(verdict.level, verdict.advice))
        if verdict is not None and verdict.level in (URGENT, HARMFUL):
            is_kept = self.alarm is not None and self.alarm.level in (EMERGENCY, CRISIS)
            if is_kept or verdict.level == HARMFUL:
                return self
            return replace(self, alarm=Alarm(URGENT, verdict.advice))
        return replace(self, alarm=None)

    def to_conversation(self, question: str) -> Conversation:
        """Returns what the model is asked.

        Raises:
            InputError: The question is empty or too long.
        """
        messages: list[Message] = []
        for turn in self.turns:
            if turn.remembered is not None:
                messages += [Message(USER, turn.question), Message(ASSISTANT, turn.remembered)]
        heard = (*(turn.question for turn in self.turns), question)  # also what got no answer: a danger in it counts
        return replace(Conversation.from_messages([*messages, Message(USER, question)]), heard=heard)
