"""From a question on the page to an answer that grows, with everything that can go wrong on the way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from lightning_med.serving.conversation import MAX_LENGTH, LengthError
from lightning_med.serving.reply import Reply, strip_fixed_text
from lightning_med.serving.server.audit import BUSY, INVALID, PAGE, TOO_LONG, AuditEntry
from lightning_med.serving.server.page import texts
from lightning_med.serving.server.page.settings import PageSettings
from lightning_med.serving.server.page.talk import Talk, Turn
from lightning_med.tokenization.text_normalization import normalize_whitespace
from lightning_med.utils.errors import InputError, RunError

_LOG = logging.getLogger(__name__)
_PACE = 0.25  # seconds between updates: a screen reader announces each of them
_MAX_TURNS = 100
_DROP_SECONDS = 5.0


@dataclass(frozen=True)
class View:
    """What changes on the page; `None` leaves something as it is.

    Attributes:
        talk: The conversation.
        status: In place of the last answer while there is no text of it.
        note: Why a question was not sent; empty removes what was said before.
        box: What the field for the question holds.
        is_writing: Whether an answer can be stopped.
    """

    talk: Talk | None = None
    status: str = ""
    note: str | None = None
    box: str | None = None
    is_writing: bool | None = None


@dataclass
class _Run:
    """An answer of a browser tab that is being written."""

    entry: AuditEntry
    reply: Reply | None = None
    is_stopped: bool = False
    is_dropped: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self, is_dropped: bool) -> None:
        self.is_stopped, self.is_dropped = True, is_dropped
        self.entry.is_cancelled = True
        if self.reply is not None:
            self.reply.cancel()


class Answerer:
    """Answers questions of the page, one at a time in each browser tab.

    Args:
        settings: Of the page.
    """

    def __init__(self, settings: PageSettings) -> None:
        self._service, self._metrics = settings.service, settings.metrics
        self._capacity, self._audit = settings.capacity, settings.audit
        self._runs: dict[str, _Run] = {}

    def stop(self, tab: str, is_dropped: bool = False) -> None:
        """Ends the answer that a tab waits for.

        Args:
            tab: Its name.
            is_dropped: The conversation is not shown any more, so nothing is said of its end.
        """
        run = self._runs.pop(tab, None) if is_dropped else self._runs.get(tab)
        if run is not None:
            run.stop(is_dropped)

    async def drop(self, tab: str) -> None:
        """Ends the answer that a tab waits for, and waits until no more of it can reach the page."""
        run = self._runs.get(tab)
        self.stop(tab, is_dropped=True)
        if run is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(run.ended.wait(), _DROP_SECONDS)

    async def answer(self, tab: str, text: str, talk: Talk) -> AsyncGenerator[View, None]:
        """Yields what changes on the page, until the answer is whole, was stopped, or failed.

        Args:
            tab: Its name.
            text: The question; anything may be in it.
            talk: What was said before.
        """
        question = texts.clean(text).strip()
        if not self._audit.is_ready:
            self._metrics.count_error(503)
            yield View(note=texts.NOT_RECORDED, box=text)
            return
        entry = self._audit.begin(PAGE)
        problem, entry.reason = self._find_problem(tab, question, talk)
        if not problem and not self._capacity.enter():
            self._metrics.count_error(503)
            problem, entry.reason = texts.TOO_MANY_PEOPLE, BUSY
        if problem:
            entry.end()
            yield View(note=problem, box=text)
            return
        run = self._runs[tab] = _Run(entry)
        start, talk = time.monotonic(), talk.add(Turn(question))
        try:
            async with aclosing(self._write(run, talk, start)) as views:
                async for view in views:
                    if run.is_dropped:
                        return
                    yield view
        finally:
            if run.reply is not None:
                run.reply.cancel()  # does nothing to a whole answer
            self._capacity.leave()
            entry.end()
            run.ended.set()
            if self._runs.get(tab) is run:
                del self._runs[tab]

    def _find_problem(self, tab: str, question: str, talk: Talk) -> tuple[str, str]:
        """Why a question is not asked, for the person and for the record."""
        if tab in self._runs:
            return texts.STILL_WRITING, BUSY
        if not normalize_whitespace(question):
            return texts.ASK_FIRST, INVALID
        if len(question) > MAX_LENGTH:  # the browser's limit would cut a question without a word
            return texts.tell_length(len(question)), TOO_LONG
        if len(talk.turns) >= _MAX_TURNS:
            return texts.TOO_MANY_TURNS, TOO_LONG
        return "", ""

    async def _write(self, run: _Run, talk: Talk, start: float) -> AsyncGenerator[View, None]:
        before = self._service.load[1]
        yield View(talk, texts.tell_wait(before), note="", box="", is_writing=True)
        question = talk.turns[-1].question
        asked = Talk(talk.turns[:-1], talk.alarm)
        try:
            conversation = asked.to_conversation(question)
            run.reply = run.entry.reply = await asyncio.to_thread(self._service.reply, conversation)
            async with aclosing(self._stream(run, run.reply, talk, start, before)) as views:
                async for view in views:
                    yield view
        except InputError as error:
            run.entry.reason = TOO_LONG if isinstance(error, LengthError) else INVALID
            yield View(asked, note=str(error), box=question, is_writing=False)
        except RunError as error:
            self._metrics.count_error(502)
            _LOG.error("An answer on the page was broken off: %s", error.what)
            yield self._tell_failure(run, talk)
        except Exception:
            _LOG.exception("An answer on the page failed.")
            self._metrics.count_error(500)
            yield self._tell_failure(run, talk)

    async def _stream(
        self, run: _Run, reply: Reply, talk: Talk, start: float, before: int
    ) -> AsyncGenerator[View, None]:
        talk = talk.warn(reply.verdict)
        shown, sent, status, last, first = "", "", "", 0.0, None
        is_fixed = reply.verdict is not None and not reply.verdict.answerable
        try:
            async with aclosing(reply.stream(tick=_PACE)) as pieces:
                async for piece in pieces:
                    if run.is_stopped and not is_fixed:  # what the guard adds to a broken answer is not shown
                        break
                    shown += piece
                    now = time.monotonic()
                    first = first or (now - start if piece else None)
                    before = min(before, max(self._service.load[1] - 1, 0))
                    if shown != sent and now - last >= _PACE:
                        sent, last = shown, now
                        yield View(talk.finish(shown, strip_fixed_text(reply, shown) or None))
                    elif not shown and status != (
                        told := texts.WRITING if reply.has_begun else texts.tell_wait(before)
                    ):
                        status = told
                        yield View(talk, status)
                    elif not piece:
                        yield View()  # where a tab was closed, this ends the answer
            shown_last = f"{shown} {texts.STOPPED}".strip() if run.is_stopped and not is_fixed else shown
            # An exchange without an answer would leave the model to answer the old question with the next one.
            yield View(talk.finish(shown_last, strip_fixed_text(reply, shown) or None), is_writing=False)
        finally:
            reply.cancel()
            self._metrics.count("page", reply, time.monotonic() - start, first)

    def _tell_failure(self, run: _Run, talk: Talk) -> View:
        """The view in which a failure stands after what there was of the answer; the model will see neither."""
        run.entry.has_failed = True
        shown = run.reply.text if run.reply is not None else ""
        verdict = run.reply.verdict if run.reply is not None else None
        return View(talk.warn(verdict).finish(f"{shown}\n\n{texts.FAILED}".strip()), is_writing=False)
