"""Where a conversation is shown: a terminal, plain text, or lines of JSON."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL, URGENT
from lightning_med.safety.messages.conversation import is_recalled
from lightning_med.serving.answer import Answer
from lightning_med.serving.word_wrap import WordWrap, make_printable
from lightning_med.utils.output import format_json

if TYPE_CHECKING:
    from rich.console import Console

    from lightning_med.safety import Verdict
    from lightning_med.serving.reply import Reply

_TITLES = {EMERGENCY: "Emergency", CRISIS: "You are not alone", HARMFUL: "Not answered", URGENT: "Please note"}
STOPPED, BROKEN_OFF = "[stopped]", "[broken off]"


class Screen(Protocol):
    """Shows answers as they are written, and what the commands have to say."""

    def begin(self, reply: Reply) -> None:
        """An answer begins."""
        ...

    def add(self, text: str) -> None:
        """A piece of it."""
        ...

    def end(self, reply: Reply, ending: str) -> None:
        """It is whole, and the ending is empty, or `STOPPED` or `BROKEN_OFF`."""
        ...

    def say(self, text: str) -> None:
        """Something that is not an answer: of a command, or what was wrong with one."""
        ...

    def fail(self, question: str, text: str) -> None:
        """A message got no whole answer."""
        ...


class PlainScreen:
    """Plain text on standard output; what is not an answer goes to standard error."""

    def begin(self, reply: Reply) -> None:
        """See `Screen`."""

    def add(self, text: str) -> None:
        """See `Screen`."""
        print(make_printable(text), end="", flush=True)

    def end(self, reply: Reply, ending: str) -> None:
        """See `Screen`."""
        print(f" {ending}\n\n{DISCLAIMER}\n" if ending else "\n", flush=True)

    def say(self, text: str) -> None:
        """See `Screen`."""
        print(make_printable(text), file=sys.stderr, flush=True)

    def fail(self, question: str, text: str) -> None:
        """See `Screen`."""
        self.say(text)


class JsonScreen(PlainScreen):
    """A line of JSON for each message: the answer as `respond --json` writes it, or what went wrong as `error`."""

    def add(self, text: str) -> None:
        """See `Screen`."""

    def end(self, reply: Reply, ending: str) -> None:
        """See `Screen`; an answer that was broken off has no checks to tell of, and gets no line."""
        if not ending:
            print(format_json(asdict(_make_answer(reply)), sys.stdout), flush=True)

    def fail(self, question: str, text: str) -> None:
        """See `Screen`."""
        self.say(text)
        print(format_json({"question": question, "error": text}, sys.stdout), flush=True)


class TerminalScreen:
    """A terminal: lines are broken between words, advice has a frame.

    Args:
        console: Of rich. No text is read as markup.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._wrap = WordWrap(lambda: console.width)
        self._framed = ""  # fixed text that the frame shows already
        self._shown = ""

    def begin(self, reply: Reply) -> None:
        """See `Screen`."""
        self._wrap, self._shown, self._framed = WordWrap(lambda: self._console.width), "", ""
        if reply.verdict is not None and reply.verdict.advice:
            self._framed = reply.verdict.advice
            self._show_frame(reply.verdict)

    def add(self, text: str) -> None:
        """See `Screen`."""
        if self._framed and text.startswith(self._framed):  # the fixed text is the beginning of the first piece
            text, self._framed = text.removeprefix(self._framed).lstrip(), ""
        answer, found, _ = text.partition(DISCLAIMER)
        self._shown += answer
        if self._shown.strip():
            self._write(self._wrap.feed(make_printable(answer)))
        if found:
            self._write(self._wrap.flush())
            self._write(self._wrap.feed(DISCLAIMER) + self._wrap.flush(), "dim")

    def end(self, reply: Reply, ending: str) -> None:
        """See `Screen`; one that is not whole gets the disclaimer, too."""
        self._write(self._wrap.flush())
        if ending:
            self._write(self._wrap.feed(f" {ending}") + self._wrap.flush(), "yellow")
            if self._shown.strip():
                self._write(self._wrap.feed(f"\n\n{DISCLAIMER}") + self._wrap.flush(), "dim")
        self._write("\n\n")

    def say(self, text: str) -> None:
        """See `Screen`."""
        wrap = WordWrap(lambda: self._console.width)
        self._write(f"{wrap.feed(make_printable(text))}{wrap.flush()}\n")

    def fail(self, question: str, text: str) -> None:
        """See `Screen`."""
        self.say(text)

    def _show_frame(self, verdict: Verdict) -> None:
        from rich.panel import Panel
        from rich.text import Text

        # An alarm of an earlier message, which still holds, is as red as the alarm itself was.
        is_alarm = verdict.level in (EMERGENCY, CRISIS) or is_recalled(verdict)
        style = "bold red" if is_alarm else "yellow"
        title = Text(_TITLES[verdict.level])
        self._console.print(Panel(Text(make_printable(verdict.advice)), title=title, style=style))

    def _write(self, text: str, style: str = "") -> None:
        from rich.text import Text

        if text:
            self._console.print(Text(text, style), end="", soft_wrap=True)
            self._console.file.flush()


def _make_answer(reply: Reply) -> Answer:
    raw = reply.generated.text if reply.generated else ""
    if reply.guarded is None:
        return Answer.without_checks(reply.question, raw)
    return Answer.from_guarded(reply.question, raw, reply.guarded)
