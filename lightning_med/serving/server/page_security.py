"""What protects the page, its visitors and the server: paths, origins, host names, headers, a login.

All of it is plain ASGI: Starlette's `BaseHTTPMiddleware` hides from a route that its reader has gone away.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'self'; form-action 'self';"
    " frame-ancestors 'none'"
)  # Gradio's components write style attributes: only scripts can be kept to a nonce
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d+)?")
_OWN = ("/v1/", "/health", "/metrics")  # routes of the API, which protects itself
_READ = ("/", "/theme.css", "/favicon.ico", "/manifest.json", "/gradio_api/queue/data")
_READ_BELOW = ("/assets/", "/static/", "/gradio_api/heartbeat/")
_WRITTEN = ("/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset")


class PageSecurity:
    """Lets through what the page needs and nothing else of Gradio, and adds headers.

    Gradio has routes that read files, fetch addresses and take uploads. They are not for this page, so only the paths
    that it uses exist. Its answers to other origins are made silent: it allows each of them by name otherwise.

    Args:
        app: The rest.
        hosts: Names that the server may be called by; `None` for any. A page of another site that makes its own name
            point to this machine is refused by it.
        public_name: Another one, of a proxy before the server; its pages may ask, whatever `Host` the proxy sends.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] | None = None, public_name: str | None = None) -> None:
        self._app, self._public_name = app, (public_name or "").lower()
        names = [*(hosts or ()), *([public_name] if public_name else [])]
        self._hosts = None if hosts is None else {name.lower().strip("[]") for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # nothing here uses them
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._find_refusal(scope)
        nonce = secrets.token_urlsafe(16)
        if refusal is not None:
            await refusal(scope, receive, _add_headers(send, nonce))
        elif scope["path"] == "/":
            await self._app(_without_compression(scope), receive, _PageSender(send, nonce))
        else:
            await self._app(scope, receive, _add_headers(send, nonce))

    def _find_refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts is not None and _get_name(host) not in self._hosts:
            return PlainTextResponse("This server has another name.", 421)
        if not _is_known(scope["method"], scope["path"]):
            return PlainTextResponse("Not found.", 404)
        own = (host.lower(), self._public_name or host.lower())
        if scope["method"] == "POST" and not _is_api(scope["path"]) and _is_foreign(headers, own):
            return PlainTextResponse("Requests of other sites are refused.", 403)
        return None


class RequireLogin:
    """Asks for a name and a password before the page is shown (HTTP Basic).

    The routes of the API are left out: clients send the API's key, in the same header. Gradio's own login is not
    used: it adds routes and a page of its own, keeps sessions in memory, and leaves its assets and its start page
    open. The browser sends the password with every request, so a public server needs TLS before it.

    Args:
        app: The rest.
        name: Of the one account.
        password: Of the one account.
    """

    def __init__(self, app: ASGIApp, name: str, password: str) -> None:
        self._app = app
        self._expected = base64.b64encode(f"{name}:{password}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or asks for the login."""
        if scope["type"] != "http" or _is_api(scope["path"]) or self._is_right(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        asks = {"WWW-Authenticate": 'Basic realm="lightning-med", charset="UTF-8"', "Cache-Control": "no-store"}
        await PlainTextResponse("A name and a password are needed.", 401, asks)(scope, receive, send)

    def _is_right(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        is_equal = hmac.compare_digest(given.strip().encode(), self._expected)  # takes as long for any mistake
        return kind.lower() == "basic" and is_equal


class _PageSender:
    """Sends the HTML of the page, once it is whole, with the nonce in each of its scripts.

    No text of a person or a model is in that HTML, and Gradio escapes "<" in its settings there.
    """

    def __init__(self, send: Send, nonce: str) -> None:
        self._send, self._nonce = _add_headers(send, nonce), nonce.encode()
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body") or self._start is None:
            return
        body = self._body.replace(b"<script", b'<script nonce="%s"' % self._nonce)
        headers = MutableHeaders(scope=self._start)
        headers["Cache-Control"] = "no-store"  # a nonce is for one use
        if self._body:  # the answer to HEAD keeps the length that it says
            headers["Content-Length"] = str(len(body))
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": body})


def add_security(app: FastAPI, hosts: Sequence[str] | None = None, public_name: str | None = None) -> None:
    """Protects an app and the page that is mounted in it.

    Args:
        app: Not yet running.
        hosts: Names, without a port, that the server may be called by. `None` allows any: for a server that is not
            bound to this machine alone.
        public_name: See `PageSecurity`.
    """
    app.add_middleware(PageSecurity, hosts=hosts, public_name=public_name)


def require_login(app: FastAPI, name: str, password: str) -> None:
    """Asks everyone who opens the page for a name and a password; see `RequireLogin`.

    Args:
        app: Not yet running.
        name: Without a colon.
        password: Not empty.
    """
    app.add_middleware(RequireLogin, name=name, password=password)


def _is_api(path: str) -> bool:
    return path in _OWN or path.startswith(_OWN[0])


def _is_known(method: str, path: str) -> bool:
    if _is_api(path):
        return True
    if ".." in path or "\\" in path:
        return False
    if method in ("GET", "HEAD"):
        return path in _READ or path.startswith(_READ_BELOW)
    return method == "POST" and path in _WRITTEN


def _is_foreign(headers: Headers, own: tuple[str, ...]) -> bool:
    """Whether a page of another site sent the request; programs send neither header."""
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() not in own


def _get_name(host: str) -> str:
    """The name in a `Host` header, without the port; empty for a malformed one."""
    match = _HOST.fullmatch(host.lower())
    return match[1].strip("[]") if match else ""


def _without_compression(scope: Scope) -> Scope:
    return {**scope, "headers": [header for header in scope["headers"] if header[0] != b"accept-encoding"]}


def _add_headers(send: Send, nonce: str) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name in [name for name in headers if name.startswith("access-control-")]:
                del headers[name]
            headers["Content-Security-Policy"] = _POLICY.format(nonce=nonce)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
        await send(message)

    return send_with_headers
