"""The answer of an upstream server: from the bytes of server-sent events to text that may be guarded."""

from __future__ import annotations

import json
from typing import Any

from lightning_med.inference.generation import GeneratedAnswer, remove_control_characters
from lightning_med.serving.upstream.server import UpstreamServer, find_error
from lightning_med.utils.errors import RunError

_MAX_LINE = 1_000_000  # bytes
_DONE = "[DONE]"
_OPENING, _CLOSING = "<think>", "</think>"  # of reasoning, where a server leaves it in the text


class EventLines:
    """Splits bytes, in pieces of any size, into the data of server-sent events."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> list[str]:
        """Returns the data of the lines that are whole now.

        Raises:
            RunError: A line does not end.
        """
        self._rest += piece
        if b"\n" not in piece:
            if len(self._rest) > _MAX_LINE:
                raise RunError("The upstream server sends a line without an end.")
            return []
        *lines, self._rest = self._rest.split(b"\n")
        return self._read_data(lines)

    def finish(self) -> list[str]:
        """Returns the data of the last line, which need not end."""
        lines, self._rest = [self._rest], bytearray()
        return self._read_data(lines)

    @staticmethod
    def _read_data(lines: list[bytearray]) -> list[str]:
        """Comments that keep the connection alive, names and numbers of events are not read."""
        found = []
        for line in lines:
            name, _, value = line.decode("utf-8", "replace").partition(":")
            if name == "data" and value.strip():
                found.append(value.strip())
            elif name == "error":  # earlier llama.cpp
                found.append(f'{{"error": {value}}}')
        return found


class UpstreamAnswer:
    """Adds up the chunks of an answer.

    Args:
        server: That sends them, for messages.
        max_characters: What follows is not read.

    Attributes:
        is_done: Whether nothing follows.
    """

    def __init__(self, server: UpstreamServer, max_characters: int) -> None:
        self._server, self._max = server, max_characters
        self._raw = ""
        self._reason: str | None = None
        self._pieces, self._tokens, self._prompt_tokens = 0, 0, 0
        self.is_done = False

    @property
    def text(self) -> str:
        """What is certain: it only grows. White space around it and reasoning before it are not part of it."""
        text = self._raw.lstrip()
        if text.startswith(_OPENING):
            text = text.partition(_CLOSING)[2].lstrip()
        elif _OPENING.startswith(text):
            text = ""
        return text.rstrip()

    @property
    def is_whole(self) -> bool:
        """Whether it has its end, although the server may have more to say about it."""
        return self.is_done or self._reason is not None

    def add(self, data: str) -> None:
        """Adds a chunk.

        Raises:
            RunError: It is none, or an error. What a damaged line held may have been a `not`: nothing is skipped.
        """
        if self.is_done or data == _DONE:
            self.is_done = True
            return
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise RunError("The upstream server sent a line that is not JSON.") from None
        if error := find_error(chunk):
            raise RunError(f"The upstream server reports an error: {self._server.quote(error)}")
        if not isinstance(chunk, dict):
            raise RunError("The upstream server sent JSON that is no part of an answer.")
        if isinstance(usage := chunk.get("usage"), dict):
            self._tokens = _read_count(usage.get("completion_tokens")) or self._tokens
            self._prompt_tokens = _read_count(usage.get("prompt_tokens")) or self._prompt_tokens
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                self._add_choice(choice)

    def make_answer(self) -> GeneratedAnswer:
        """Returns the whole."""
        tokens = self._tokens or self._pieces
        return GeneratedAnswer(self.text, self._reason == "stop", tokens, self._prompt_tokens, self._reason != "stop")

    def _add_choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        piece = delta.get("content") if isinstance(delta, dict) else None  # not its `reasoning_content`
        if piece and isinstance(piece, str):
            self._pieces += 1
            self._raw += _clean(piece)
            if len(self._raw) >= self._max:
                self._raw, self.is_done = self._raw[: self._max], True
                return
        reason = choice.get("finish_reason")
        if reason in ("abort", "error"):  # vLLM and SGLang
            raise RunError("The upstream server broke the answer off.")
        if isinstance(reason, str):
            self._reason = reason


def _clean(piece: str) -> str:
    """Removes control characters, and halves of surrogate pairs, which no reply could hold."""
    return remove_control_characters(piece).encode("utf-8", "ignore").decode()


def _read_count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40 else 0
