"""A model that says what a test tells it to, word by word, as fast as the test lets it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from lightning_med.inference.decoding import Decoding
from lightning_med.inference.engines.answer_stream import AnswerStream
from lightning_med.inference.generation import GeneratedAnswer
from lightning_med.serving.conversation import Conversation
from lightning_med.serving.reply import Written

ANSWER = "Rest your voice and drink warm tea. A sore tongue heals within some days. See a doctor if it stays."


class ScriptedWriter:
    """A `Writer` without a network.

    Args:
        answer: What it says, or makes of a conversation what it says.

    Attributes:
        asked: Conversations that reached it.
        decodings: The settings of each.
        streams: What it wrote of each.
        gate: Closed (`clear`), every answer stops after its first words until it is opened or cancelled.
        held_after: After how many words.
    """

    def __init__(self, answer: str | Callable[[Conversation], str] = ANSWER) -> None:
        self._answer = answer
        self.decoding = Decoding()
        self.asked: list[Conversation] = []
        self.decodings: list[Decoding] = []
        self.streams: list[AnswerStream] = []
        self.gate = threading.Event()
        self.gate.set()
        self.held_after = 1

    def write(self, conversation: Conversation, decoding: Decoding) -> Written:
        text = self._answer if isinstance(self._answer, str) else self._answer(conversation)
        stream = AnswerStream()
        self.asked.append(conversation)
        self.decodings.append(decoding)
        self.streams.append(stream)
        threading.Thread(target=self._say, args=(text, stream), daemon=True).start()
        return Written(stream, prompt_tokens=sum(map(len, conversation.questions)))

    def _say(self, text: str, stream: AnswerStream) -> None:
        words = re.findall(r"\S+\s*", text)
        for count in range(1, len(words) + 1):
            if stream.is_cancelled:
                return
            stream.extend("".join(words[:count]).rstrip())
            if count >= self.held_after:
                self.gate.wait(30)
        if not stream.is_cancelled:
            stream.finish(GeneratedAnswer(text.strip(), ended=True, tokens=len(words)))

    @property
    def load(self) -> tuple[int, int]:
        return sum(not stream.is_done for stream in self.streams), 0

    def close(self) -> None:
        for stream in self.streams:
            stream.cancel()
