"""Writes answers with the model of another server, many at once, in one thread that waits for all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2

from lightning_med.inference.decoding import Decoding
from lightning_med.inference.engines.answer_stream import AnswerStream
from lightning_med.serving.conversation import Conversation
from lightning_med.serving.reply import Written
from lightning_med.serving.upstream.answer import EventLines, UpstreamAnswer
from lightning_med.serving.upstream.request import make_request
from lightning_med.serving.upstream.server import UpstreamServer
from lightning_med.tokenization.prompts import SYSTEM_PROMPT
from lightning_med.utils.errors import InputError, RunError, describe_error

_MAX_ERROR = 65_536  # bytes of the body of a reply that failed
_CLOSING_SECONDS = 5.0


@dataclass(frozen=True)
class UpstreamLimits:
    """How much and how long an upstream server may write.

    Attributes:
        connections: Answers at a time; further ones wait.
        characters: Of an answer; then the connection is closed.
        connect_seconds: Until it takes a connection, and until it lists its models.
        idle_seconds: Without a byte from it, also before the first one, while the question waits there.
        total_seconds: Of an answer, without its wait here.
    """

    connections: int = 64
    characters: int = 20_000
    connect_seconds: float = 5.0
    idle_seconds: float = 120.0
    total_seconds: float = 600.0


class UpstreamWriter:
    """A `Writer` whose model runs in a server of the OpenAI protocol.

    Its text is untrusted: bounded, without control characters, and guarded by `ChatService` like any other. Cancelling
    an answer closes its connection at once, and so stops the server. Redirects are not followed.

    Args:
        url: `http://HOST:PORT` or `https://HOST/v1`.
        model: Its name there; default: the only one that the server has.
        api_key: Sent as `Bearer`, if any.
        system_prompt: What the model was trained with. A client's system text follows it.
        decoding: Settings of answers; see `list_settings` for what is sent.
        limits: See there.

    Attributes:
        model: Its name.

    Raises:
        UnavailableError: The server is down.
        InputError: It is no server of this protocol, wants another key, or has several models.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        api_key: str | None = None,
        system_prompt: str = SYSTEM_PROMPT,
        decoding: Decoding | None = None,
        limits: UpstreamLimits | None = None,
    ) -> None:
        if not system_prompt.strip():
            raise InputError("system_prompt is empty.", "Give the one that the model was trained with.")
        self.server, self._limits = UpstreamServer.from_url(url, api_key), limits or UpstreamLimits()
        self.decoding, self._system_prompt = decoding or Decoding(), system_prompt
        self.model = self.server.choose_model(model, self._limits.connect_seconds)
        self._lock, self._is_closed = threading.Lock(), False
        self._jobs: dict[AnswerStream, Future[None]] = {}
        self._slots = asyncio.Semaphore(self._limits.connections)
        self._client = self._make_client()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)
        self._thread.start()

    def write(self, conversation: Conversation, decoding: Decoding) -> Written:
        """See `Writer`. A conversation that is too long for the model is refused by the server, later."""
        body, stream = make_request(self.model, self._system_prompt, conversation, decoding), AnswerStream()
        with self._lock:
            if self._is_closed:
                raise RunError("The connection to the upstream server is closed.")
            job = asyncio.run_coroutine_threadsafe(self._write(body, stream), self._loop)
            self._jobs[stream] = job

        def stop_if_cancelled() -> None:
            if stream.is_cancelled:
                job.cancel()  # closes the connection, also while no byte comes

        job.add_done_callback(lambda _: self._drop(stream))
        stream.listen(stop_if_cancelled)
        return Written(stream, prompt_tokens=0)

    @property
    def load(self) -> tuple[int, int]:
        """See `Writer`."""
        with self._lock:
            count = sum(not stream.is_done for stream in self._jobs)
        writing = min(count, self._limits.connections)
        return writing, count - writing

    def close(self) -> None:
        """See `Writer`."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed, jobs = True, list(self._jobs.values())
        for job in jobs:
            job.cancel()
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._disconnect(), self._loop).result(_CLOSING_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSING_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def _make_client(self) -> httpx2.AsyncClient:
        """Every answer has a connection of its own: a kept one may be closed by the server just when it is used."""
        limits = self._limits
        return httpx2.AsyncClient(
            headers=self.server.headers,
            timeout=httpx2.Timeout(limits.idle_seconds, connect=limits.connect_seconds),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=self.server.may_use_proxy,
            follow_redirects=False,
        )

    def _drop(self, stream: AnswerStream) -> None:
        """Forgets an answer; one that was broken off by `close` hears of it."""
        with self._lock:
            self._jobs.pop(stream, None)
        if not stream.is_done:
            stream.fail(ConnectionAbortedError("the server stops"))

    async def _disconnect(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSING_SECONDS / 2)
        await self._client.aclose()

    async def _write(self, body: dict[str, Any], stream: AnswerStream) -> None:
        """Writes an answer; whatever happens, its reader hears of the end."""
        answer = UpstreamAnswer(self.server, self._limits.characters)
        async with self._slots:
            error = await self._catch(self._read(body, answer, stream))
        if stream.is_cancelled:
            return
        if error is None or (answer.is_whole and not isinstance(error, RunError)):
            stream.finish(answer.make_answer())  # a connection that is lost after the end loses nothing
        else:
            stream.fail(error)

    async def _catch(self, reading: Awaitable[None]) -> Exception | None:
        """Waits, but not for ever, and returns what went wrong."""
        limits = self._limits
        try:
            async with asyncio.timeout(limits.total_seconds):
                await reading
        except TimeoutError:
            return TimeoutError(f"the upstream server took longer than {limits.total_seconds:g} s.")
        except httpx2.ReadTimeout:
            return TimeoutError(f"the upstream server sent nothing for {limits.idle_seconds:g} s.")
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            return ConnectionError("the upstream server cannot be reached.")
        except httpx2.TransportError as error:
            return ConnectionError(f"the connection to the upstream server: {self.server.quote(describe_error(error))}")
        except Exception as error:  # a reader would wait for ever
            return error
        return None

    async def _read(self, body: dict[str, Any], answer: UpstreamAnswer, stream: AnswerStream) -> None:
        url, lines = f"{self.server.address}/chat/completions", EventLines()
        async with self._client.stream("POST", url, json=body) as response:
            await self._check(response)
            async for piece in response.aiter_raw():
                for data in lines.feed(piece):
                    answer.add(data)
                stream.extend(answer.text)
                if answer.is_done:
                    return
        for data in lines.finish():
            answer.add(data)
        if not answer.is_whole:
            raise RunError("The upstream server closed the connection in the middle of the answer.")

    async def _check(self, response: httpx2.Response) -> None:
        """Refuses a reply that is no stream of events."""
        kind = response.headers.get("content-type", "")
        if response.status_code == 200 and kind.startswith("text/event-stream"):
            return
        body = b""
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > _MAX_ERROR:
                break
        what, _ = self.server.describe_refusal(response.status_code, body)
        if response.status_code == 200:
            what = f"{what.removesuffix('.')}, but not with a stream."
        raise RunError(what)
