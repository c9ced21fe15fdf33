"""Standard output and standard error of a command: written whatever their encoding, and no longer once nobody reads."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from typing import Any


class Output:
    """A text stream that goes on, writing nothing, once the terminal behind it has been closed.

    Args:
        stream: What is written to; all but `write` and `flush` is its own.
        is_optional: A closed pipe is no error either, as it is for the results of a command (`| head`).
    """

    def __init__(self, stream: Any, is_optional: bool) -> None:
        self._stream = stream
        self.is_optional = is_optional

    def write(self, text: str) -> int:
        with self._survive():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._survive():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _survive(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno != errno.EIO and not (self.is_optional and isinstance(error, BrokenPipeError)):
                raise
            discard(self._stream)


def discard(stream: Any) -> None:
    """Lets a stream write to nowhere, and so also what it has not written yet."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream without a file behind it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def format_json(content: Any, stream: Any) -> str:
    """Returns JSON on one line, with the characters that a stream can write: all in UTF-8, elsewhere those of ASCII.

    Args:
        content: What `json.dumps` takes.
        stream: That the line is written to.
    """
    is_utf8 = (stream.encoding or "utf-8").lower().startswith("utf")
    return json.dumps(content, ensure_ascii=not is_utf8)


@contextlib.contextmanager
def protect_output() -> Iterator[None]:
    """Within the context, nothing that is printed ends the command for its characters or for a closed terminal.

    Characters that an encoding lacks (Latin-1, ASCII) are replaced; UTF-8 lacks none but those of broken file names.
    """
    before = sys.stdout, sys.stderr
    streams = [stream or open(os.devnull, "w", encoding="utf-8") for stream in before]  # noqa: SIM115  `>&-` leaves None
    for stream in streams:
        if hasattr(stream, "reconfigure") and not _can_write_all(stream):
            stream.reconfigure(errors="replace")
    sys.stdout, sys.stderr = Output(streams[0], False), Output(streams[1], True)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _can_write_all(stream: Any) -> bool:
    try:
        "\udcff\u2014".encode(stream.encoding or "utf-8", stream.errors)  # a byte of a broken file name, a dash
    except UnicodeEncodeError:
        return False
    return True


def drop_lost_output() -> None:
    """Lets a closed pipe end no command any more: what is to be saved matters more than who reads about it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Output):
            stream.is_optional = True
