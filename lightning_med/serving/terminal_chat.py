"""A conversation in the terminal: what a person types, the commands, and the answers as they are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from lightning_med.inference.decoding import Decoding
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.conversation import ASSISTANT, SYSTEM, USER, Conversation, Message
from lightning_med.serving.reply import Reply, strip_fixed_text
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_text
from lightning_med.utils.signals import Interrupted

COMMANDS = {
    "/help": "the commands",
    "/reset": "forget the conversation",
    "/save FILE": "write the conversation as JSON Lines",
    "/system TEXT": "add a text to the system prompt, for this conversation; without a text, show it",
    "/raw": "the last answer as the model wrote it, and what the guard did",
    "/temperature X": "0 for the likeliest answer, 0.7 for variety; without a number, show it",
    "/quit": "end (or Ctrl-D)",
}
_SIGINT = 130  # the exit status of Ctrl-C


class TerminalChat:
    """A conversation.

    Args:
        service: Answers.
        write: Shows text as it comes, without a line's end.
        decoding: Settings.
    """

    def __init__(self, service: ChatService, write: Callable[[str], None], decoding: Decoding) -> None:
        self._service, self._write, self._decoding = service, write, decoding
        self._messages: list[Message] = []
        self._system = ""
        self._last: Reply | None = None

    def run(self, lines: Iterator[str]) -> None:
        """Answers lines until they end or one is `/quit`; a wrong command is told and nothing else happens."""
        for line in lines:
            text = line.strip()
            if text == "/quit":
                break
            try:
                if text.startswith("/"):
                    self._write(f"{self._obey(text)}\n")
                elif text:
                    self.answer(text)
            except InputError as error:
                self._write(f"{error}\n")

    def answer(self, text: str) -> None:
        """Shows the answer to a message; Ctrl-C stops it, and what was shown stays in the conversation."""
        system = [Message(SYSTEM, self._system)] if self._system else []
        conversation = Conversation.from_messages([*system, *self._messages, Message(USER, text)])
        self._last = reply = self._service.reply(conversation, self._decoding)
        try:
            for piece in reply:
                self._write(piece)
        except (KeyboardInterrupt, Interrupted) as stop:
            if isinstance(stop, Interrupted) and stop.code != _SIGINT:
                raise
            self._write(" [stopped]")
        self._write("\n\n")
        self._messages += [Message(USER, text), Message(ASSISTANT, strip_fixed_text(reply))]

    def _obey(self, line: str) -> str:
        """Carries out a command; returns what to say."""
        name, _, value = line.partition(" ")
        value = value.strip()
        match name:
            case "/help":
                width = max(map(len, COMMANDS))
                return "\n".join(f"{command:<{width}}  {text}" for command, text in COMMANDS.items())
            case "/reset":
                self._messages, self._last = [], None
                return "The conversation is forgotten."
            case "/save":
                return self._save(value)
            case "/system":
                self._system = value or self._system
                return f"Added to the system prompt: {self._system or 'nothing'}"
            case "/raw":
                return self._describe_raw()
            case "/temperature":
                return self._set_temperature(value)
        raise InputError(f"{name} is no command.", "/help shows them.")

    def _save(self, name: str) -> str:
        if not name:
            raise InputError("/save needs the name of a file.")
        path = Path(name).expanduser()
        if path.exists():
            raise InputError(f"{path} exists.", "Name another file.")
        rows = [{"role": message.role, "content": message.text} for message in self._messages]
        try:
            write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from error
        return f"{len(rows)} messages: {path}"

    def _describe_raw(self) -> str:
        if self._last is None:
            raise InputError("There is no answer yet.")
        if self._last.generated is None:
            return "The model was not asked."
        actions = self._last.guarded.actions if self._last.guarded else {}
        done = ", ".join(f"{name} {count}" for name, count in actions.items()) or "nothing"
        return f"{self._last.generated.text}\n\nThe guard did: {done}."

    def _set_temperature(self, value: str) -> str:
        if value:
            try:
                self._decoding = replace(self._decoding, temperature=float(value))
            except ValueError as error:
                raise InputError(f"{value!r} is no number.", "For instance: /temperature 0.7") from error
        return f"Temperature {self._decoding.temperature:g}."
