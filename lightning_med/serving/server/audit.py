"""What became of each question: one record without any text of a person or a model."""

from __future__ import annotations

import json
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightning_med.serving.answer import UNCHECKED
from lightning_med.serving.reply import Reply
from lightning_med.serving.server.audit_file import AuditFile
from lightning_med.serving.server.limits import send_error
from lightning_med.version import __version__

ANSWERED, ALARM, REFUSED, CANCELLED, ERROR = "answered", "alarm", "refused", "cancelled", "error"
PAGE, CHAT, COMPLETIONS = "page", "chat", "completions"
CLOSED = 499  # the status where the reader went away; nobody sees it
TOO_LONG, RATE, AUTH, BUSY, SITE, INVALID = "too_long", "rate", "auth", "busy", "site", "invalid"
UNAVAILABLE = "The audit log cannot be written, so no question is answered."
_DOORS = {"/v1/chat/completions": CHAT, "/v1/completions": COMPLETIONS, "/gradio_api/queue/join": PAGE}
_REASONS = {401: AUTH, 403: SITE, 413: TOO_LONG, 421: SITE, 429: RATE, 503: BUSY}
_ENTRY = "lightning_med.audit"  # in the scope of a request


class AuditEntry:
    """The record of a question while it is answered.

    Args:
        audit: Where it ends.
        door: `page`, `chat` or `completions`.

    Attributes:
        id: At random; the client is told.
        reply: Where an answer was begun.
        status: Of the reply over HTTP.
        reason: Why it was refused; default: what the status says.
        is_cancelled: A person stopped it.
        has_failed: It was broken off by an error.
    """

    def __init__(self, audit: Audit, door: str) -> None:
        self._audit, self._door = audit, door
        self._at, self._start = datetime.now(UTC), time.monotonic()
        self.id = uuid.uuid4().hex
        self.reply: Reply | None = None
        self.status = 200
        self.reason = ""
        self.is_cancelled = self.has_failed = False

    def end(self) -> None:
        """Writes the record; again it does nothing."""
        self._audit.end(self)

    def drop(self) -> None:
        """Forgets the record: the request was no question, or another record is of it."""
        self._audit.end(self, is_written=False)

    def describe(self, model: str, upstream: bool) -> dict[str, Any]:
        """Returns the record.

        Args:
            model: Its name.
            upstream: Whether another server writes the answers.
        """
        reply, outcome = self.reply, self._find_outcome()
        verdict = reply.verdict if reply else None
        is_whole = reply is not None and reply.is_done and outcome != CANCELLED
        return {
            "time": self._at.isoformat(timespec="milliseconds"),
            "id": self.id,
            "door": self._door,
            "outcome": outcome,
            "reason": (self.reason or _REASONS.get(self.status, INVALID)) if outcome == REFUSED else None,
            "level": verdict.level if verdict else UNCHECKED if reply else None,
            "categories": list(verdict.categories) if verdict else [],
            "model_asked": reply is not None and not reply.is_fixed,
            "guard": reply.guarded.actions if reply and is_whole and reply.guarded else None,
            "prompt_tokens": reply.prompt_tokens if reply else 0,
            "answer_tokens": reply.generated.tokens if reply and is_whole and reply.generated else None,
            "seconds": round(time.monotonic() - self._start, 3),
            "model": model,
            "upstream": upstream,
            "version": __version__,
        }

    def _find_outcome(self) -> str:
        if self.has_failed or (self.status >= 500 and self.status != 503):
            return ERROR
        if self.status == CLOSED or (self.is_cancelled and not (self.reply and self.reply.is_fixed)):
            return CANCELLED
        if self.reason or self.status >= 400:
            return REFUSED
        if self.reply is None or not self.reply.is_done:
            return CANCELLED
        return ALARM if self.reply.is_fixed else ANSWERED


class Audit:
    """The records of a server; safe to use from several threads.

    Args:
        file: Where they are written; `None`: nowhere.
        model: Its name.
        upstream: Whether another server writes the answers.
    """

    def __init__(self, file: AuditFile | None = None, model: str = "", upstream: bool = False) -> None:
        self._file, self._model, self._upstream = file, model, upstream
        self._lock, self._open = threading.Lock(), set[AuditEntry]()

    @property
    def is_ready(self) -> bool:
        """Whether questions may be answered: all records before are written."""
        return self._file is None or self._file.is_ready

    def begin(self, door: str) -> AuditEntry:
        """Begins the record of a question."""
        entry = AuditEntry(self, door)
        with self._lock:
            self._open.add(entry)
        return entry

    def end(self, entry: AuditEntry, is_written: bool = True) -> None:
        """See `AuditEntry`."""
        with self._lock:
            if entry not in self._open:
                return
            self._open.remove(entry)
        if is_written and self._file is not None:
            self._file.append(json.dumps(entry.describe(self._model, self._upstream)))

    def close(self) -> None:
        """Writes the records of questions that were broken off by the server's end."""
        with self._lock:
            entries = list(self._open)
        for entry in entries:
            entry.end()


class AuditRequests:
    """Gives each question that a program sends a record and its id in `x-request-id`.

    Of the page's requests it writes those that were refused before they reached the page, which records the others.

    Args:
        app: The rest.
        audit: The records.
    """

    def __init__(self, app: ASGIApp, audit: Audit) -> None:
        self._app, self._audit = app, audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        door = _DOORS.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if door is None:
            await self._app(scope, receive, send)
            return
        if door != PAGE and not self._audit.is_ready:
            await send_error(send, 503, UNAVAILABLE, "server_error", "audit_unavailable")
            return
        entry = self._audit.begin(door)
        scope[_ENTRY] = entry

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = entry.id
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception:
            entry.has_failed = True
            raise
        finally:
            if door == PAGE and (entry.status < 400 or not self._audit.is_ready):
                entry.drop()  # the page also tells it to stop an answer; while nothing can be written it may go on
            else:
                entry.end()


def get_entry(scope: Scope) -> AuditEntry:
    """Returns the record of a request; of one that no `AuditRequests` saw, a record that is written nowhere."""
    return scope.get(_ENTRY) or AuditEntry(Audit(), CHAT)
