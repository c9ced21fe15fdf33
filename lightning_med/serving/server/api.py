"""The routes of the OpenAI protocol, `/health` and `/metrics`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.conversation import Conversation, LengthError
from lightning_med.serving.reply import Reply
from lightning_med.serving.server.audit import CLOSED, TOO_LONG, UNAVAILABLE, Audit, AuditEntry, get_entry
from lightning_med.serving.server.limits import Capacity
from lightning_med.serving.server.metrics import CONTENT_TYPE, Metrics
from lightning_med.serving.server.protocol import (
    ChatRequest,
    CompletionRequest,
    Envelope,
    encode_event,
    find_finish_reason,
    make_error,
)
from lightning_med.utils.errors import InputError, RunError

_LOG = logging.getLogger(__name__)
_EVENTS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_KNOWN = ("chat/completions", "completions")


@dataclass(frozen=True)
class ServerState:
    """What the routes share.

    Attributes:
        service: Answers.
        model: Its name in the protocol.
        metrics: Counts.
        capacity: How many questions may be answered or wait.
        audit: The records of questions.
    """

    service: ChatService
    model: str
    metrics: Metrics
    capacity: Capacity
    audit: Audit = field(default_factory=Audit)


class Refusal(Exception):
    """A request that is answered with an error in the protocol's shape."""

    def __init__(
        self, status: int, message: str, kind: str = "invalid_request_error", param: str | None = None,
        code: str | None = None, headers: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.headers = status, headers
        self.body = make_error(message, kind, param, code)


def add_api(app: FastAPI, state: ServerState) -> None:
    """Adds the routes and the shape of errors to an app."""
    _add_errors(app)

    @app.get("/health")
    async def tell_health() -> Response:
        is_ready = state.audit.is_ready
        return JSONResponse({"status": "ok" if is_ready else UNAVAILABLE}, 200 if is_ready else 503)

    @app.get("/metrics")
    async def tell_metrics() -> Response:
        return Response(state.metrics.format(), media_type=CONTENT_TYPE)

    @app.get("/v1/models")
    async def list_models() -> dict[str, object]:
        return {"object": "list", "data": [_describe_model(state)]}

    @app.get("/v1/models/{name:path}")
    async def tell_model(name: str) -> dict[str, object]:
        _check_model(name, state)
        return _describe_model(state)

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        return await _answer("chat", body, request, state)

    @app.post("/v1/completions")
    async def complete(body: CompletionRequest, request: Request) -> Response:
        return await _answer("text", body, request, state)

    @app.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
    async def refuse(path: str, request: Request) -> Response:  # a page that is mounted at / would answer else
        if path in _KNOWN:
            raise Refusal(405, f"/v1/{path} takes POST, not {request.method}.", headers={"Allow": "POST"})
        raise Refusal(404, f"There is no /v1/{path}.")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refuse(request: Request, error: Refusal) -> Response:
        return JSONResponse(error.body, error.status, error.headers)

    @app.exception_handler(InputError)
    async def refuse_input(request: Request, error: InputError) -> Response:
        if isinstance(error, LengthError):
            get_entry(request.scope).reason = TOO_LONG
        return JSONResponse(make_error(str(error)), 400)

    @app.exception_handler(RequestValidationError)
    async def refuse_body(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]  # its `input` is what a person wrote: it is neither sent back nor logged
        if first["type"] == "json_invalid":
            return JSONResponse(make_error(f"The body is no JSON: {first['ctx']['error']}"), 400)
        param = first.get("ctx", {}).get("param") or ".".join(map(str, first["loc"][1:])) or None
        code = first["type"] if first["type"] == "unsupported_value" else None
        return JSONResponse(make_error(f"{param or 'body'}: {first['msg']}", param=param, code=code), 400)

    @app.exception_handler(HTTPException)
    async def refuse_http(request: Request, error: HTTPException) -> Response:
        return JSONResponse(make_error(str(error.detail)), error.status_code)

    @app.exception_handler(RunError)
    async def tell_failure(request: Request, error: RunError) -> Response:
        return JSONResponse(make_error(str(error), "server_error"), 502)

    @app.exception_handler(Exception)
    async def tell_error(request: Request, error: Exception) -> Response:
        return JSONResponse(make_error("The server failed; its log says how.", "server_error"), 500)


def _describe_model(state: ServerState) -> dict[str, object]:
    return {"id": state.model, "object": "model", "created": 0, "owned_by": "lightning_med"}


def _check_model(name: str | None, state: ServerState) -> None:
    if name and name != state.model:
        raise Refusal(
            404, f"There is no model {name!r}; this server has {state.model!r}.", param="model", code="model_not_found"
        )


async def _answer(
    kind: Literal["chat", "text"], body: ChatRequest | CompletionRequest, request: Request, state: ServerState
) -> Response:
    """Answers a request, in one piece or as a stream; a reader that goes away stops the model."""
    _check_model(body.model, state)
    if body.stream_options is not None and not body.stream:
        raise Refusal(400, "stream_options needs stream: true.", param="stream_options")
    conversation = Conversation.from_messages(body.list_messages(), body.stops)
    decoding = body.choose_decoding(state.service.writer.decoding)
    if not state.capacity.enter():
        raise Refusal(503, "Too many questions wait; ask again later.", "server_error", headers={"Retry-After": "5"})
    asked = _Asked(state, get_entry(request.scope))
    try:
        asked.reply = asked.entry.reply = await asyncio.to_thread(state.service.reply, conversation, decoding)
        envelope = Envelope(kind, state.model, asked.entry.id)
        if body.stream:
            return _EventStream(_stream(asked, envelope, body.includes_usage), asked.end)
        async for _ in asked.reply.stream(tick=0.2):
            if await request.is_disconnected():
                return Response(status_code=CLOSED)
        return JSONResponse(envelope.wrap(asked.reply))
    finally:
        if not body.stream or asked.reply is None:
            asked.end()


class _Asked:
    """A question while it is answered."""

    def __init__(self, state: ServerState, entry: AuditEntry) -> None:
        self._state, self._start, self.entry = state, time.monotonic(), entry
        self._first: float | None = None
        self.reply: Reply | None = None

    def note_text(self) -> None:
        """Notes the time of the first text."""
        self._first = self._first or time.monotonic() - self._start

    def end(self) -> None:
        """Stops the model if it still writes, counts the answer, and makes room for another."""
        self._state.capacity.leave()
        if self.reply is not None:
            self.reply.cancel()
            self._state.metrics.count("api", self.reply, time.monotonic() - self._start, self._first)


class _EventStream(StreamingResponse):
    """Server-sent events; `end` is called also where the reader went away before the first of them."""

    def __init__(self, events: AsyncIterator[str], end: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers=_EVENTS)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


async def _stream(asked: _Asked, envelope: Envelope, includes_usage: bool) -> AsyncIterator[str]:
    reply = asked.reply
    assert reply is not None
    try:
        yield envelope.wrap_piece("", is_first=True)
        async for piece in reply.stream():
            if piece:
                asked.note_text()
                yield envelope.wrap_piece(piece)
        yield envelope.wrap_piece("", finish_reason=find_finish_reason(reply))
        if includes_usage:
            yield envelope.wrap_usage(reply)
        yield "data: [DONE]\n\n"
    except Exception as error:  # the status is sent already
        asked.entry.has_failed = True
        _LOG.error("an answer was broken off", exc_info=error)
        what = str(error) if isinstance(error, RunError) else "The server failed; its log says how."
        yield encode_event(make_error(what, "server_error"))
