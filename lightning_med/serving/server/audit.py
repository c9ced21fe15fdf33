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
TOO_LONG, BUSY, INVALID = "too_long", "busy", "invalid"
UNAVAILABLE = "The audit log cannot be written, so no question is answered."
_ENDPOINTS = {"/v1/chat/completions": CHAT, "/v1/completions": COMPLETIONS}
_ENTRY = "lightning_med.audit"  # in the scope of a request


class AuditEntry:
    """The record of a question while it is answered.

    Args:
        audit: Where it ends.
        endpoint: `page`, `chat` or `completions`.

    Attributes:
        id: At random; the client is told.
        reply: Where an answer was begun.
        status: Of the reply over HTTP.
        reason: Why it was refused; default: what the status says.
        is_cancelled: A person stopped it.
        has_failed: It was broken off by an error.
    """

    def __init__(self, audit: Audit, endpoint: str) -> None:
        self._audit, self._endpoint = audit, endpoint
        self._at, self._start = datetime.now(UTC), time.monotonic()
        self.id = uuid.uuid4().hex
        self.reply: Reply | None = None
        self.status = 200
        self.reason = ""
        self.is_cancelled = self.has_failed = False

    def end(self) -> None:
        """Writes the record; again it does nothing."""
        self._audit.end(self)

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
            "endpoint": self._endpoint,
            "outcome": outcome,
            "reason": (self.reason or (BUSY if self.status == 503 else INVALID)) if outcome == REFUSED else None,
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

    def begin(self, endpoint: str) -> AuditEntry:
        """Begins the record of a question."""
        entry = AuditEntry(self, endpoint)
        with self._lock:
            self._open.add(entry)
        return entry

    def end(self, entry: AuditEntry) -> None:
        """See `AuditEntry`."""
        with self._lock:
            if entry not in self._open:
                return
            self._open.remove(entry)
        if self._file is not None:
            self._file.append(json.dumps(entry.describe(self._model, self._upstream)))

    def close(self) -> None:
        """Writes the records of questions that were broken off by the server's end."""
        with self._lock:
            entries = list(self._open)
        for entry in entries:
            entry.end()


class AuditRequests:
    """Gives each question that a program sends a record and its id in `x-request-id`; the page records its own.

    It stands behind the limits and the login: a request that they refuse has no record. Otherwise anyone who reaches
    the port could fill the disk of the log, and no question is answered while it is full.

    Args:
        app: The rest.
        audit: The records.
    """

    def __init__(self, app: ASGIApp, audit: Audit) -> None:
        self._app, self._audit = app, audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        endpoint = _ENDPOINTS.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        if not self._audit.is_ready:
            await send_error(send, 503, UNAVAILABLE, "server_error", "audit_unavailable")
            return
        entry = self._audit.begin(endpoint)
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
            entry.end()


def get_entry(scope: Scope) -> AuditEntry:
    """Returns the record of a request; of one that no `AuditRequests` saw, a record that is written nowhere."""
    return scope.get(_ENTRY) or AuditEntry(Audit(), CHAT)
