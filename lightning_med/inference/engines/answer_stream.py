"""An answer that is being written in another thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial

from lightning_med.inference.generation import GeneratedAnswer
from lightning_med.utils.errors import RunError

_LOG = logging.getLogger(__name__)


class AnswerStream:
    """What an engine has written of an answer; safe to use from several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._listeners: list[Callable[[], None]] = []
        self._text = ""
        self._answer: GeneratedAnswer | None = None
        self._error: BaseException | None = None
        self.is_cancelled = False

    @property
    def text(self) -> str:
        """The beginning of the answer that no further token changes."""
        return self._text

    @property
    def is_done(self) -> bool:
        """Whether nothing follows: the answer is whole, was cancelled, or failed."""
        return self._answer is not None or self._error is not None or self.is_cancelled

    def cancel(self) -> None:
        """Tells the engine to write no more; waiting ends."""
        with self._changed:
            self.is_cancelled = True
        self._announce()

    def listen(self, listener: Callable[[], None]) -> None:
        """Calls a function, from another thread, whenever there is more; it must return at once."""
        with self._changed:
            self._listeners.append(listener)
        listener()  # of what came before

    def get_answer(self, timeout: float | None = None) -> GeneratedAnswer:
        """Waits for the whole answer; of a cancelled one returns what was written.

        Args:
            timeout: Seconds.

        Raises:
            TimeoutError: It is not whole by then.
            RunError: The engine failed.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.is_done, timeout):
                raise TimeoutError
        if self._error is not None:
            raise RunError(f"The answer was broken off: {self._error}") from self._error
        return self._answer or GeneratedAnswer(self._text, ended=False, tokens=0)

    def __iter__(self) -> Iterator[str]:
        """Yields what is new of the text, until the answer is whole."""
        seen = 0
        while True:
            with self._changed:
                self._changed.wait_for(partial(self._has_more, seen))
            done, text = self.is_done, self._text
            if len(text) > seen:
                yield text[seen:]
                seen = len(text)
            elif done:
                break
        self.get_answer()  # raises what went wrong

    def extend(self, text: str) -> None:
        """For the engine: the text so far."""
        if len(text) > len(self._text):
            self._text = text
            self._announce()

    def finish(self, answer: GeneratedAnswer) -> None:
        """For the engine: the whole answer."""
        self._text, self._answer = answer.text, answer
        self._announce()

    def fail(self, error: BaseException) -> None:
        """For the engine: there is no more, because of an error."""
        self._error = error
        self._announce()

    def _has_more(self, seen: int) -> bool:
        return self.is_done or len(self._text) > seen

    def _announce(self) -> None:
        with self._changed:
            self._changed.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener()
            except Exception:  # a reader's fault must not end the engine, which writes for others, too
                _LOG.exception("a reader of an answer failed")
