"""`lightning-med chat`: from a pipe in this process, and in a pseudo terminal with a person at the keys."""

from __future__ import annotations

import io
import json
import os
import re
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from lightning_med.safety.answers.guard import DISCLAIMER
from tests import tiny

pty = pytest.importorskip("pty")  # Windows has none

QUESTION = "My tongue is sore, what can I do?"
CHEST = "I have crushing chest pain and my left arm is numb"


@pytest.fixture(scope="session")
def model(folder: Path) -> Path:
    """The folder of a tiny exported model."""
    return tiny.finished_export(folder)


# ------------------------------------------------------------------ from a pipe


def chat(model: Path, monkeypatch: pytest.MonkeyPatch, typed: bytes, *options: object) -> tuple[int, str, str]:
    stdin = SimpleNamespace(buffer=io.BytesIO(typed), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", stdin)
    return tiny.command("chat", "--model", model, "--engine", "transformers", "--region", "GB", *options)


def test_each_line_of_a_pipe_is_a_message(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = f"\ufeff{QUESTION}\n\n{CHEST}\r\nWhat should I eat?".encode()
    status, out, err = chat(model, monkeypatch, typed)
    assert status == 0
    assert out.count(DISCLAIMER) == 3
    assert out.count("Please call 999 now") == 2  # the alarm, and the notice that it still holds
    assert "Earlier in this conversation" in out
    assert re.fullmatch(f"{re.escape(str(model))}: transformers, (float32|bfloat16)\n", err)  # as the processor can
    assert "\x1b" not in out + err
    assert "> " not in out


def test_json_is_that_of_respond(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = chat(model, monkeypatch, f"{QUESTION}\n/temperature\n{CHEST}\n".encode(), "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    for row, question in zip(rows, (QUESTION, CHEST), strict=True):
        _, line, _ = tiny.command("respond", "--model", model, "--region", "GB", "--json", question)
        assert json.loads(line) == row


def test_what_is_wrong_goes_to_standard_error_and_the_chat_goes_on(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = (
        b"/fly\n"
        + b"x" * 20_001
        + b"\n/system "
        + b"ab " * 5000
        + b"\n\xff\xfe tongue\n/system -\nMy tongue\n/quit\nNo"
    )
    status, out, err = chat(model, monkeypatch, typed)
    assert status == 1  # two messages got no answer
    assert out.count(DISCLAIMER) == 1
    lines = err.splitlines()[1:]
    assert lines[:2] == [
        "/fly is no command. /help shows them.",
        "The message has 20,001 characters; 20,000 are read. Shorten it.",
    ]
    assert lines[2].startswith("Added to the system prompt: ab ab")
    assert lines[3:] == [
        "The system message is too long for this model. Shorten it.",
        "Added to the system prompt: nothing",
    ]


def test_nothing_typed_is_nothing_answered(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chat(model, monkeypatch, b"")[:2] == (0, "")


def test_decoding_options_reach_the_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raws = []
    for count in (2, 40):
        options = ["--max_new_tokens", count, "--safety", "off", "--json"]
        _, out, _ = chat(model, monkeypatch, QUESTION.encode(), *options)
        raws.append(json.loads(out)["raw"])
    assert len(raws[0]) < len(raws[1])


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (["--temperature", "-1"], ["--temperature is -1.0.", "It must be between 0 and 100."]),
        (["--max_new_tokens", "0"], ["--max_new_tokens is 0.", "It must be at least 1."]),
        (["--region", "XX"], ["--region XX is not known."]),
        (["--engine", "vllm"], ["--engine cannot be vllm.", "It takes auto or transformers or llama.cpp."]),
        (["--top_k", "3"], ["--top_k is no option of chat."]),
        (["--model", "no/such/folder"], ["no/such/folder"]),
    ],
)
def test_wrong_options_are_two_lines(options: list[str], lines: list[str], tmp_path: Path) -> None:
    status, out, err = tiny.command("chat", *options, cwd=tmp_path)
    assert (status, out) == (2, "")
    assert all(line in err for line in lines)
    assert len(err.strip().splitlines()) <= 2


def test_a_message_without_an_answer_has_a_line_and_a_status(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = f"{'x' * 20_001}\n/nonsense\n{QUESTION}\n".encode()
    status, out, err = chat(model, monkeypatch, typed, "--json")
    first, second = map(json.loads, out.splitlines())
    assert (first["question"], status) == ("x" * 20_001, 1)
    assert "20,001 characters" in first["error"]
    assert second["question"] == QUESTION
    assert "/nonsense is no command." in err


# ------------------------------------------------------------------ in a terminal

# Each token takes its time, as those of a large network do, so that an answer can be stopped. Each is the same word and
# none the end, whatever the untrained network chooses.
WORD = "sage"
SLOW = f"""
import sys, time
from lightning_med.cli import main
from lightning_med.inference.engines.answer_text import AnswerText
from lightning_med.inference.engines.torch_backend import TorchBackend
step = TorchBackend.step
TorchBackend.step = lambda *arguments: time.sleep(0.3) or step(*arguments)
AnswerText.add = lambda answer, token: setattr(answer, "text", answer.text + "{WORD} ")
sys.exit(main(sys.argv[1:]))
"""
READY = "\x1b[?2004h"  # the prompt has taken over the keys
SECONDS = 120


class Terminal:
    """A program in a pseudo terminal.

    Args:
        argv: Of Python.
        folder: Where it runs.
    """

    def __init__(self, argv: list[str], folder: Path) -> None:
        self.child, self.keys = pty.fork()
        if self.child == 0:
            os.chdir(folder)
            os.environ |= {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
            os.execv(sys.executable, [sys.executable, *argv])
        self.echoes = bool(termios.tcgetattr(self.keys)[3] & termios.ECHO)
        self.unread = ""

    def read_until(self, text: str) -> str:
        """Waits for a text, and returns what came before it."""
        end = time.monotonic() + SECONDS
        while text not in self.unread:
            self.unread += self._read_block(end, f"no {text!r}").decode("utf-8", "replace")
        before, _, self.unread = self.unread.partition(text)
        return before

    def _read_block(self, end: float, missing: str = "it does not end") -> bytes:
        """Reads what the program has written; fails where nothing comes until `end`."""
        left = end - time.monotonic()
        assert left > 0 and select.select([self.keys], [], [], left)[0], f"{missing}: {self.unread!r}"  # noqa: PT018
        return os.read(self.keys, 65536)

    def press_until(self, key: str, text: str) -> None:
        """Presses a key again and again until a text appears."""
        end = time.monotonic() + SECONDS
        while text not in self.unread:
            assert time.monotonic() < end, self.unread
            self.type(key)
            until = time.monotonic() + 1
            while text not in self.unread and select.select([self.keys], [], [], max(until - time.monotonic(), 0))[0]:
                self.unread += os.read(self.keys, 65536).decode("utf-8", "replace")
        self.read_until(text)

    def type(self, keys: str) -> None:
        os.write(self.keys, keys.encode())

    def wait(self) -> int:
        """Reads what is left; returns the exit status."""
        end = time.monotonic() + SECONDS
        try:
            while block := self._read_block(end):
                self.unread += block.decode("utf-8", "replace")
        except OSError:  # Linux says so where the program has ended
            pass
        self.echoes = bool(termios.tcgetattr(self.keys)[3] & termios.ECHO)
        status = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        self.child = 0
        return status

    def close(self) -> None:
        if self.child:
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
        os.close(self.keys)


@pytest.fixture
def terminal(model: Path, tmp_path: Path) -> Iterator[Terminal]:
    """A chat with a slow model, whose answers are shown word by word."""
    options = ["--engine", "transformers", "--region", "GB", "--safety", "off", "--max_new_tokens", "100"]
    opened = Terminal(["-c", SLOW, "chat", "--model", str(model), *options], tmp_path)
    yield opened
    opened.close()


@pytest.mark.alone  # a pseudo terminal beside other tests is too slow for the keys that it presses
@pytest.mark.slow
def test_a_person_talks_stops_an_answer_and_goes_on(terminal: Terminal, tmp_path: Path) -> None:
    assert "/help shows the commands" in terminal.read_until(READY)
    terminal.type("\x03")
    terminal.read_until("Ctrl-D or /quit ends.")
    terminal.read_until(READY)
    terminal.type("/he\t\r")  # the tab key completes the command
    assert "forget the conversation" in terminal.read_until(READY)
    terminal.type(f"{QUESTION}\r")
    terminal.read_until("\x1b[?2004l")  # the keys are the program's again
    terminal.read_until(WORD)
    terminal.type("\x03\x03")
    terminal.read_until("[stopped]")
    terminal.read_until(READY)
    terminal.type("\x1b[A")  # the arrow key brings the question back
    terminal.read_until(QUESTION)
    terminal.type("\r")
    terminal.read_until("\x1b[?2004l")
    terminal.press_until("\x03", "[stopped]")  # a key that comes before the program takes over is one of the next line
    terminal.type("/temperature\r")
    terminal.read_until("Temperature 0.")
    terminal.type("half a line\x03/temperature\r")
    terminal.read_until("Temperature 0.")
    terminal.read_until(READY)
    terminal.type("\x04")
    assert terminal.wait() == 0
    assert terminal.echoes
    assert not list(tmp_path.iterdir())  # no history on the disk


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("is_writing", [False, True])
def test_sigterm_ends_the_chat_and_restores_the_terminal(terminal: Terminal, is_writing: bool) -> None:
    terminal.read_until(READY)
    if is_writing:
        terminal.type(f"{QUESTION}\r")
        terminal.read_until("\x1b[?2004l")
        terminal.read_until(WORD)
    os.kill(terminal.child, signal.SIGTERM)
    assert terminal.wait() == 143
    assert terminal.echoes
    assert "stopped by SIGTERM" in terminal.unread
    assert "Traceback" not in terminal.unread


def test_the_advice_of_an_alarm_is_framed(model: Path, tmp_path: Path) -> None:
    terminal = Terminal(["-m", "lightning_med", "chat", "--model", str(model), "--engine", "transformers"], tmp_path)
    try:
        terminal.read_until(READY)
        terminal.type(f"{CHEST}\r")
        shown = terminal.read_until(READY)
        assert "\x1b[1;31m╭" in shown
        assert re.search("Emergency", shown)
        terminal.type("/quit\r")
        assert terminal.wait() == 0
    finally:
        terminal.close()
