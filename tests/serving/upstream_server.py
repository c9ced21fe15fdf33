"""A stand-in for vLLM and its like: a server of the OpenAI protocol that streams what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers import Request, run_server

DONE = b"data: [DONE]\n\n"
HANG = b""  # as a part: sends nothing more, and waits for the client to go away
TEXT = "Rest your voice and drink warm tea. A sore tongue heals within some days. See a doctor if it stays."


@dataclass
class Script:
    """A reply.

    Attributes:
        parts: Of the body, sent one by one.
        cut: Whether the connection is closed in the middle of the body.
        silent: Whether nothing is sent, not even a status, until the client goes away.
    """

    parts: Iterable[bytes] = ()
    status: int = 200
    kind: str = "text/event-stream; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    silent: bool = False


@dataclass
class Upstream:
    """The server as a test sees it.

    Attributes:
        asked: Requests for answers, in order.
        came: Set when an answer is asked for.
        gone: Set when a client went away from a reply that hangs.
    """

    address: str
    asked: list[Request] = field(default_factory=list)
    listed: list[Request] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def messages(self) -> list[dict[str, str]]:
        """Of the last request."""
        return self.asked[-1].fields["messages"]


def event(content: Any, end: str = "\n\n") -> bytes:
    """A server-sent event of JSON."""
    return f"data: {json.dumps(content)}{end}".encode()


def chunk(text: str | None = None, reason: str | None = None, **delta: Any) -> bytes:
    """A piece of an answer."""
    delta |= {} if text is None else {"content": text}
    return event(
        {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    )


def usage(read: int, written: int) -> bytes:
    """The event that counts tokens."""
    return event({"choices": [], "usage": {"prompt_tokens": read, "completion_tokens": written}})


def say(text: str = TEXT, reason: str = "stop") -> list[bytes]:
    """A whole answer, word by word."""
    words = [chunk(word + " ") for word in text.split(" ")]
    return [chunk("", role="assistant"), *words, chunk(reason=reason), usage(30, len(words)), DONE]


def list_models(*names: str) -> Script:
    """The list of models."""
    return Script(
        [json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode()], kind="application/json"
    )


@contextmanager
def serve_upstream(
    answer: Callable[[Request], Script] | Script | None = None, models: Script | None = None
) -> Iterator[Upstream]:
    """Runs the server: it has one model, `doctor`, and says `TEXT`, if not told otherwise."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            record.listed.append(self._read())
            self._send(models or list_models("doctor"))

        def do_POST(self) -> None:
            request = self._read()
            record.asked.append(request)
            record.came.set()
            script = answer(request) if callable(answer) else answer
            self._send(script or Script(say()))

        def _read(self) -> Request:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            names = {name.lower(): value for name, value in self.headers.items()}
            return Request(self.command, self.path, names, body)

        def _send(self, script: Script) -> None:
            self.close_connection = True
            if script.silent:
                return self._wait_for_end()
            self.send_response(script.status)
            for name, value in {"Content-Type": script.kind, "Transfer-Encoding": "chunked", **script.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for part in script.parts:
                    if part == HANG:
                        return self._wait_for_end()
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            except OSError:  # the client is gone
                record.gone.set()
                return
            if not script.cut:
                self.wfile.write(b"0\r\n\r\n")

        def _wait_for_end(self) -> None:
            self.connection.settimeout(20)
            try:
                data = self.connection.recv(1)
            except ConnectionError:
                data = b""
            if not data:
                record.gone.set()

        def log_message(self, *_: object) -> None:
            pass

    class Threading(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Threading(("127.0.0.1", 0), Handler)
    record = Upstream(f"http://127.0.0.1:{server.server_port}")
    with run_server(server):
        yield record
