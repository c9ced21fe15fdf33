"""Limits of the server, before a request is read: its size, and how many a client may send."""

from __future__ import annotations

import hmac
import ipaddress
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightning_med.serving.server.protocol import make_error

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_BODY = 1_000_000  # bytes
_MAX_CLIENTS = 10_000  # whose pace is remembered
_KEYED = ("/v1/", "/metrics")  # paths of programs; /health is open
POSTS = ("/v1/", "/gradio_api/queue/join")  # paths that ask for answers


class Capacity:
    """Counts the questions that are answered or wait.

    Args:
        limit: How many there may be.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._count = limit, 0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Counts a question, if there is room for it; says whether there was."""
        with self._lock:
            has_room = self._count < self._limit
            self._count += has_room
        return has_room

    def leave(self) -> None:
        """Makes room."""
        with self._lock:
            self._count -= 1


class LimitSize:
    """Refuses large bodies with an error in the protocol's shape, whatever length they claim."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > MAX_BODY:
            await send_error(send, 413, f"The request has more than {MAX_BODY:,} bytes.")
            return
        read, is_answered = 0, False

        async def receive_counted() -> Message:
            nonlocal read, is_answered
            message = await receive()
            read += len(message.get("body", b""))
            if read <= MAX_BODY:
                return message
            if not is_answered:
                is_answered = True
                await send_error(send, 413, f"The request has more than {MAX_BODY:,} bytes.")
            return {"type": "http.disconnect"}

        async def send_unless_refused(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start" and is_answered:
                return
            if read <= MAX_BODY:
                is_answered = True
                await send(message)

        await self._app(scope, receive_counted, send_unless_refused)


class LimitRate:
    """Refuses the questions of a client that asks too many in a minute.

    Args:
        app: The rest.
        per_minute: Questions of one client, by its address, or by its /64 of IPv6; as many may come at once.
        proxies: Whose header `X-Forwarded-For` names the client; nobody else's is read.
    """

    def __init__(self, app: ASGIApp, per_minute: int, proxies: Sequence[Network] = ()) -> None:
        self._app, self._per_minute, self._proxies = app, per_minute, proxies
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()  # questions left, and when that was

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        asks = scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(POSTS)
        if asks and (wait := self._count(self._find_client(scope))):
            headers = [(b"retry-after", str(int(wait) + 1).encode())]
            what = f"More than {self._per_minute} questions a minute."
            await send_error(send, 429, what, "requests", "rate_limit_exceeded", headers)
            return
        await self._app(scope, receive, send)

    def _find_client(self, scope: Scope) -> str:
        """The last address on the way here that is no proxy's; what comes before it anyone may have written.

        Where a proxy names no address, it is its own. A client has a whole network of IPv6, in which it can choose.
        """
        peer = str((scope.get("client") or ("",))[0])
        client = _read_address(peer)
        if client is None:
            return peer
        named = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",") if self._proxies else []
        while named and any(client in proxy for proxy in self._proxies):
            before = _read_address(named.pop())
            if before is None:
                break
            client = before
        return str(client) if client.version == 4 else f"{int(client) >> 64:x}/64"

    def _count(self, client: str) -> float:
        """Counts a question; returns the seconds until it would be accepted, 0 where it is."""
        now, pace = time.monotonic(), self._per_minute / 60
        left, before = self._clients.pop(client, (float(self._per_minute), now))
        left = min(left + (now - before) * pace, float(self._per_minute))
        self._clients[client] = (left - 1 if left >= 1 else left, now)
        if len(self._clients) > _MAX_CLIENTS:
            self._clients.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / pace


def _read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Reads an address, whose port is left out; one of IPv4 in the form of IPv6 is one of IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


async def send_error(
    send: Send,
    status: int,
    message: str,
    kind: str = "invalid_request_error",
    code: str | None = None,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    """Sends an error in the protocol's shape, and closes the connection, whose body may not have been read."""
    body = json.dumps(make_error(message, kind, code=code)).encode()
    own = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})


class RequireKey:
    """Asks programs for the API's key, before anything else of a request is read.

    Args:
        app: The rest.
        key: That they must send as `Authorization: Bearer KEY`.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] == "http" and scope["path"].startswith(_KEYED):
            kind, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
            if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._key):
                headers = [(b"www-authenticate", b"Bearer")]
                await send_error(send, 401, "The API key is wrong or missing.", code="invalid_api_key", headers=headers)
                return
        await self._app(scope, receive, send)


class CountErrors:
    """Counts the requests that were refused or failed, by status.

    Args:
        app: The rest.
        count: Is told each status.
    """

    def __init__(self, app: ASGIApp, count: Callable[[int], None]) -> None:
        self._app, self._count = app, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                self._count(message["status"])
            await send(message)

        await self._app(scope, receive, send_counted)
