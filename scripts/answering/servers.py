"""Servers with the OpenAI protocol, each a process of its own, and the official client that asks them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from answering.jobs import Job, QuestionSet, Skipped, Writing

_PATIENCE = 300.0  # seconds until a server must be ready
_ANSWER_TIME = 1800.0  # seconds until an answer must be whole
_HOST = "127.0.0.1"


class Server:
    """A server that was started for this.

    Args:
        command: That starts it; a port is added.
        model: Its name in the protocol; None to ask the server.
        more: What requests hold beside the protocol's own.

    Raises:
        Skipped: The client is not installed, or the server does not start.
    """

    def __init__(self, command: list[str], model: str | None, more: dict[str, Any] | None = None) -> None:
        if importlib.util.find_spec("openai") is None:
            raise Skipped("the client is not installed: pip install openai")
        with socket.socket() as found:
            found.bind((_HOST, 0))
            port = found.getsockname()[1]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open for as long as the server writes into it
        self._child = subprocess.Popen([*command, "--port", str(port)], stdout=self._log, stderr=self._log)
        self.pid, self.url, self._more = self._child.pid, f"http://{_HOST}:{port}", more or {}
        try:
            self._wait()
            self._model = model or self._get("/v1/models")["data"][0]["id"]
        except BaseException:
            self.close()
            raise

    def write(self, asked: QuestionSet, tokens: int) -> list[Writing]:
        """See `Program`. A server may end an answer before it has all tokens."""
        try:
            return asyncio.run(self._write(asked.questions, tokens))
        except Exception as error:  # of the client, whatever the server sent
            what = " ".join(str(error).split())[:200]
            raise Skipped(f"{type(error).__name__} of the client: {what} {self._read_reason()}") from error

    def close(self) -> None:
        """See `Program`."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._log.close()

    async def _write(self, questions: list[str], tokens: int) -> list[Writing]:
        from openai import AsyncOpenAI

        # A request that is sent again would be measured as one that took long.
        options: dict[str, Any] = {"api_key": "none", "max_retries": 0, "timeout": _ANSWER_TIME}
        async with AsyncOpenAI(base_url=f"{self.url}/v1", **options) as client:
            return await asyncio.gather(*(self._ask(client, question, tokens) for question in questions))

    async def _ask(self, client: Any, question: str, tokens: int) -> Writing:
        writing = Writing()
        stream = await client.chat.completions.create(
            model=self._model,
            messages=[{"role": "user", "content": question}],
            max_tokens=tokens,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=self._more,
        )
        async for piece in stream:
            if piece.choices and (text := piece.choices[0].delta.content):
                writing.text += text
                writing.note()
            if piece.usage:
                writing.tokens = piece.usage.completion_tokens
        if not writing.text:
            raise ValueError("an empty answer")
        return writing

    def _wait(self) -> None:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if self._child.poll() is not None:
                raise Skipped(f"it does not start: {self._read_reason()}")
            try:
                self._get("/health")
            except (OSError, ValueError):
                time.sleep(0.2)
            else:
                return
        raise Skipped(f"it is not ready after {_PATIENCE:.0f} seconds. {self._read_reason()}")

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + path, timeout=10) as reply:
            content: dict[str, Any] = json.loads(reply.read())
            return content

    def _read_reason(self) -> str:
        """Returns the last line that the server wrote."""
        self._log.seek(0)
        return (self._log.read().strip().splitlines() or ["it wrote nothing"])[-1].strip()


def serve_ours(job: Job, engine: str) -> Server:
    """Starts `lightning-med serve`, with its guard.

    Args:
        job: With the export.
        engine: Of `--engine`.
    """
    command = [sys.executable, "-m", "lightning_med", "serve", "--model", job.model, "--engine", engine, *job.serve]
    command += ["--dtype", "bfloat16"] if engine == "transformers" else []
    return Server(command, model=None)


def serve_transformers(job: Job, batching: bool) -> Server:
    """Starts `transformers serve` in bfloat16.

    Args:
        job: With the export.
        batching: Whether it writes the answers side by side.
    """
    command = Path(sys.executable).with_name("transformers")
    if not command.is_file():
        raise Skipped(f"{command} is not installed.")
    argv = [str(command), "serve", job.model, "--dtype", "bfloat16", "--device", "cpu", "--host", _HOST]
    if batching:  # without limits it takes most of the machine's memory, and masks of 8,192 tokens
        pages = 4 * job.slots  # of 256 tokens, for prompt and answer of each stream
        argv += ["--continuous-batching", "--cb-num-blocks", str(pages), "--cb-max-batch-tokens", "512"]
    own: dict[str, float] = {"do_sample": False, "eos_token_id": -1, "pad_token_id": 0, "max_new_tokens": job.tokens}
    own |= {"no_repeat_ngram_size": 0, "repetition_penalty": 1.0}  # else it takes the export's
    return Server(argv, job.model, {"generation_config": json.dumps(own)})
