"""An upstream server of the OpenAI protocol: its address, its key, its models, and what its errors say."""

from __future__ import annotations

import ipaddress
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2

from lightning_med.inference.generation import remove_control_characters
from lightning_med.utils.errors import InputError, UnavailableError, describe_error

_FORMS = "Give http://HOST:PORT or https://HOST/v1."
_MAX_BODY = 1_000_000  # bytes of the list of models
_MAX_QUOTE = 200  # characters of a server's error that are repeated
_MAX_LISTED = 10  # names in an error


@dataclass(frozen=True)
class UpstreamServer:
    """Where the model runs.

    Attributes:
        address: Ends with `/v1`.
        api_key: Sent as `Bearer`, if any. No message ever holds it.
    """

    address: str
    api_key: str | None = field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str, api_key: str | None = None) -> UpstreamServer:
        """Reads an address as a user writes it, with or without `/v1`.

        Raises:
            InputError: It has another form, or the key cannot be sent.
        """
        if api_key is not None and not (api_key.isascii() and api_key.isprintable() and " " not in api_key and api_key):
            raise InputError("The upstream server's API key is empty or has characters that no header can hold.")
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError:
            raise InputError("The upstream server's address cannot be read.", _FORMS) from None
        if parts.username is not None or parts.password is not None:  # the address is part of messages
            raise InputError("The upstream server's address holds a name or a password.", "Give a key apart from it.")
        path = parts.path.rstrip("/")
        is_form = parts.scheme in ("http", "https") and not parts.query and not parts.fragment
        if not (host and is_form and (not path or path.endswith("/v1"))):
            raise InputError(f"The upstream server's address {url!r} has another form.", _FORMS)
        where = f"[{host}]" if ":" in host else host
        where += "" if port is None else f":{port}"
        return cls(f"{parts.scheme}://{where}{path or '/v1'}", api_key)

    @property
    def headers(self) -> dict[str, str]:
        """Of every request. Nothing is compressed, so a small reply stays small."""
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {"Accept-Encoding": "identity", "User-Agent": "lightning_med", **key}

    @property
    def may_use_proxy(self) -> bool:
        """Whether the proxy that the environment names is used: not for a server on this machine."""
        host = urlsplit(self.address).hostname or ""
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host != "localhost"

    def choose_model(self, name: str | None, timeout: float) -> str:
        """Asks the server for its models and returns the name to ask for: the given one, or its only one.

        A given name need not be listed: some servers load models on demand, or have short names for them.

        Args:
            name: As given.
            timeout: Seconds.

        Raises:
            UnavailableError: The server is down.
            InputError: It is no such server, wants another key, or has several models.
        """
        status, body = self._fetch("/models", timeout)
        if name and status >= 500:  # `transformers serve` fails to list models where it has no cache
            return name
        if status != 200:
            raise InputError(*self.describe_refusal(status, body))
        names = self._read_models(body)
        if name or len(names) == 1:
            return name or names[0]
        if not names:
            raise InputError(f"The upstream server {self.address} lists no model.", "Name the one to use.")
        listed = ", ".join(map(self.quote, names[:_MAX_LISTED])) + (", …" if len(names) > _MAX_LISTED else "")
        raise InputError(f"The upstream server {self.address} has {len(names)} models: {listed}.", "Name one of them.")

    def describe_refusal(self, status: int, body: bytes) -> tuple[str, str]:
        """Says what a status other than 200 means, and what to do.

        Of the body, only an error in JSON is repeated. Clients read it, too, so it does not hold the address.
        """
        if status in (401, 403):
            state = "refuses the API key" if self.api_key else "wants an API key"
            return f"The upstream server {state} (HTTP {status}).", "Give the key that it was set up with."
        if 300 <= status < 400:
            return f"The upstream server redirects elsewhere (HTTP {status}).", "Give the final address."
        reason = find_error(_parse(body), is_reply=True)
        said = f": {self.quote(reason)}" if reason else "."
        hint = "Is it a server of the OpenAI protocol?" if status in (404, 405) and not reason else ""
        return f"The upstream server answered with HTTP {status}{said}", hint

    def quote(self, text: str) -> str:
        """Returns the beginning of a server's text, on one line and without the key."""
        line = " ".join(remove_control_characters(text).split())
        return (line.replace(self.api_key, "…") if self.api_key else line)[:_MAX_QUOTE]

    def _read_models(self, body: bytes) -> list[str]:
        content = _parse(body)
        listed = content.get("data") if isinstance(content, dict) else None
        if not isinstance(listed, list):
            raise InputError(f"{self.address}/models is no list of models in the OpenAI protocol.", _FORMS)
        names = [model.get("id") for model in listed if isinstance(model, dict)]
        return list(dict.fromkeys(name for name in names if isinstance(name, str) and name))

    def _fetch(self, path: str, timeout: float) -> tuple[int, bytes]:
        """Returns the status and the body, as far as it comes in time."""
        body, end = b"", time.monotonic() + timeout
        try:
            with (
                httpx2.Client(timeout=timeout, headers=self.headers, trust_env=self.may_use_proxy) as client,
                client.stream("GET", self.address + path) as response,
            ):
                for piece in response.iter_raw():
                    body += piece
                    if len(body) > _MAX_BODY or time.monotonic() > end:
                        break
                return response.status_code, body
        except httpx2.TimeoutException as error:
            raise UnavailableError(
                f"The upstream server {self.address} did not answer within {timeout:g} s.", "Is it still loading?"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise UnavailableError(
                f"The upstream server {self.address} cannot be reached: {self.quote(describe_error(error))}.",
                "Start it first, or correct the address.",
            ) from error


def find_error(content: Any, is_reply: bool = False) -> str | None:
    """Returns the text of the error that JSON from a server holds; `None` where it holds none.

    Args:
        content: Parsed. The shapes are those of OpenAI (`error` with a `message`), of `transformers serve` (`error` is
            the text), of earlier vLLM and SGLang (`object` is `error`), and of FastAPI (`detail`).
        is_reply: Whether it is the whole body of a reply that failed.
    """
    if not isinstance(content, dict):
        return None
    error = content.get("error") or (content if content.get("object") == "error" else None)
    if error is None and is_reply:
        error = content.get("detail") or content.get("message")
    if isinstance(error, dict):
        error = error.get("message") or error.get("code") or "no reason is given"
    if isinstance(error, list):  # FastAPI's, each with the input, which people wrote
        error = "; ".join(str(one.get("msg")) for one in error if isinstance(one, dict))
    return None if error is None else str(error) if isinstance(error, str | int) else "no reason is given"


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
