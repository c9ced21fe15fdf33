"""An answer in a conversation while it is written, guarded, in pieces of text."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from lightning_med.inference.engines.answer_stream import AnswerStream
from lightning_med.inference.generation import GeneratedAnswer
from lightning_med.safety import Guarded, Verdict
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.safety.answers.guarded_stream import GuardedStream
from lightning_med.safety.messages.advice import get_notice
from lightning_med.serving.answer import Answer


@dataclass(frozen=True)
class Written:
    """What a model has begun to write.

    Attributes:
        stream: Its text.
        prompt_tokens: Tokens that it reads; 0 where the whole answer says it, see `GeneratedAnswer`.
    """

    stream: AnswerStream
    prompt_tokens: int


class Reply:
    """What may be shown of an answer. Iterate over it, in a thread or asynchronously, or wait for the whole.

    Args:
        question: The person's last message.
        written: What the model writes; `None` where it is not asked.
        guard: Of what it writes; `None` without safety.
        fixed: The answer where the model is not asked.

    Attributes:
        text: All pieces so far.
        prompt_tokens: Tokens that the model reads; of an upstream server known once the answer is whole.
        guarded: The guarded answer, once it is whole; `None` without safety.
    """

    def __init__(
        self, question: str, written: Written | None, guard: GuardedStream | None, fixed: Guarded | None = None
    ) -> None:
        self.question, self._guard = question, guard
        self._stream = written.stream if written else None
        self.prompt_tokens = written.prompt_tokens if written else 0
        self.guarded = fixed
        self.text = ""
        self._is_read = False

    @property
    def verdict(self) -> Verdict | None:
        """On the question; `None` without safety."""
        if self.guarded is not None:
            return self.guarded.verdict
        return self._guard.verdict if self._guard is not None else None

    @property
    def generated(self) -> GeneratedAnswer | None:
        """What the model wrote, once it is whole; `None` where it was not asked."""
        return self._stream.get_answer() if self._stream is not None else None

    @property
    def is_fixed(self) -> bool:
        """Whether it is fixed advice, and no model writes."""
        return self._stream is None

    def cancel(self) -> None:
        """Stops the model; what follows is guarded and whole."""
        if self._stream is not None:
            self._stream.cancel()

    def listen(self, listener: Callable[[], None]) -> None:
        """Calls a function from another thread whenever `read` may find more."""
        if self._stream is None:
            listener()
        else:
            self._stream.listen(listener)

    @property
    def has_begun(self) -> bool:
        """Whether there is text of the answer, shown or held back; before that it may wait for other answers."""
        return self._stream is None or bool(self._stream.text) or self._stream.is_done

    @property
    def is_done(self) -> bool:
        """Whether `text` is whole."""
        return self._is_read

    def read(self) -> str:
        """Returns what is new, maybe nothing; never waits.

        Raises:
            RunError: The engine failed.
        """
        new = "" if self._is_read else self._read()
        self.text += new
        return new

    def _read(self) -> str:
        if self._stream is None:
            assert self.guarded is not None
            self._is_read = True
            return self.guarded.answer
        is_done = self._stream.is_done  # before the text: what is added meanwhile comes with the next call
        raw = self._read_whole(self._stream) if is_done else self._stream.text
        if self._guard is None:
            self._is_read = is_done
            whole = str(Answer.without_checks(self.question, raw)) if is_done else raw
            return whole[len(self.text) :]
        if not is_done:
            return self._guard.extend(raw)
        self._is_read = True
        new, self.guarded = self._guard.finish(raw)
        return new

    def _read_whole(self, stream: AnswerStream) -> str:
        answer = stream.get_answer()
        self.prompt_tokens = answer.prompt_tokens or self.prompt_tokens
        return answer.text

    def wait(self) -> str:
        """Returns the whole text."""
        for _ in self:
            pass
        return self.text

    def __iter__(self) -> Iterator[str]:
        """Yields what is new until the answer is whole; stopped early, it stops the model."""
        changed = threading.Event()
        self.listen(changed.set)
        try:
            while not self.is_done:
                changed.wait()
                changed.clear()
                if new := self.read():
                    yield new
        finally:
            if not self.is_done:
                self.cancel()

    async def stream(self, tick: float = 0.5) -> AsyncGenerator[str, None]:
        """Yields what is new, and an empty text at least once a tick, until the answer is whole.

        Args:
            tick: Seconds. A reader that went away is noticed when something is yielded.
        """
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def notify() -> None:
            with suppress(RuntimeError):  # the loop may be closed meanwhile
                loop.call_soon_threadsafe(changed.set)

        self.listen(notify)
        yielded = loop.time()
        try:
            while not self.is_done:
                new = ""
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), tick)
                    changed.clear()
                    new = await asyncio.to_thread(self.read)  # the guard takes milliseconds, others wait meanwhile
                if new or loop.time() - yielded >= tick:
                    yielded = loop.time()
                    yield new
        finally:
            if not self.is_done:
                self.cancel()


def strip_fixed_text(reply: Reply, shown: str | None = None) -> str:
    """Returns the text of an answer without our disclaimer and notices, as the model is to see it later.

    Args:
        reply: The answer.
        shown: What was shown of it; default: all.
    """
    text = (reply.text if shown is None else shown).strip()
    text = text.removesuffix(DISCLAIMER).strip().removesuffix(get_notice("off")).strip()
    verdict = reply.verdict
    if verdict is not None and verdict.answerable and verdict.advice:
        text = text.removeprefix(verdict.advice)
    return text.strip()
