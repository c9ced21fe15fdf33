"""A conversation in the terminal: what a person types, the commands, and the answers as they are written."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from lightning_med.inference.decoding import Decoding
from lightning_med.serving.answer_changes import describe_changes
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.conversation import ASSISTANT, MAX_LENGTH, SYSTEM, USER, Conversation, Message
from lightning_med.serving.reply import Reply, strip_fixed_text
from lightning_med.serving.terminal_screen import BROKEN_OFF, STOPPED, Screen
from lightning_med.tokenization.text_normalization import normalize_whitespace
from lightning_med.utils.errors import InputError, RunError, UserError

COMMANDS = {
    "/help": "the commands",
    "/reset": "forget the conversation; the text of /system and the temperature stay",
    "/save FILE": "write the conversation as JSON Lines",
    "/system TEXT": "add a text to the system prompt; alone: show it; /system - takes it away",
    "/raw": "what the model wrote last, and what the guard changed in it",
    "/temperature X": "0 for the likeliest answer, 0.7 for variety; alone: show it",
    "/quit": "end (or Ctrl-D)",
}
_TICK = 0.1  # seconds after which Ctrl-C is noticed


class TerminalChat:
    """A conversation.

    Args:
        service: Answers.
        screen: Shows them.
        decoding: Settings.
    """

    def __init__(self, service: ChatService, screen: Screen, decoding: Decoding) -> None:
        self._service, self._screen, self._decoding = service, screen, decoding
        self._messages: list[Message] = []
        self._heard: list[str] = []  # also messages without an answer: a danger in them counts
        self._system = ""
        self._last: Reply | None = None
        self._is_stopped = False

    def run(self, lines: Iterable[str]) -> int:
        """Answers lines until they end or one is `/quit`; what is wrong is said in a line, and the chat goes on.

        Returns:
            How many messages got no whole answer, and how many commands failed.
        """
        failed = 0
        for line in lines:
            text = line.strip()
            if text.split(maxsplit=1)[:1] == ["/quit"]:
                break
            is_command = text.startswith("/")
            try:
                if is_command:
                    self._screen.say(self._obey(text))
                elif text:
                    self.answer(text)
            except UserError as error:
                failed += 1
                tell = self._screen.say if is_command else partial(self._screen.fail, text)
                tell(f"{error.what} {error.hint}".strip())
        return failed

    def stop(self) -> None:
        """Stops the answer that is being written, if any; takes no lock, so that a signal's handler may call it."""
        self._is_stopped = True

    def answer(self, text: str) -> None:
        """Shows the answer to a message; of one that is stopped, what was shown stays in the conversation.

        Raises:
            InputError: The message is too long, or the system text.
            RunError: The engine failed.
        """
        if len(text) > MAX_LENGTH:
            raise InputError(f"The message has {len(text):,} characters; {MAX_LENGTH:,} are read.", "Shorten it.")
        question = Message(USER, normalize_whitespace(text))
        if not question.text:
            return
        self._is_stopped = False
        self._heard.append(question.text)
        conversation = Conversation.from_messages([*self._messages_with_system(), question])
        reply = self._service.reply(replace(conversation, heard=tuple(self._heard)), self._decoding)
        self._last = reply
        try:
            self._show(reply)
        finally:
            # An exchange without an answer would leave the model to answer the old question with the next one.
            if shown := strip_fixed_text(reply):
                self._messages += [question, Message(ASSISTANT, shown)]

    def _show(self, reply: Reply) -> None:
        """Shows an answer until it is whole or stopped."""
        changed = threading.Event()
        reply.listen(changed.set)
        self._screen.begin(reply)
        is_whole = False
        try:
            while not reply.is_done and (reply.is_fixed or not self._is_stopped):  # advice is never broken off
                if changed.wait(_TICK):
                    changed.clear()
                    self._screen.add(reply.read())
            is_whole = reply.is_done
        finally:
            if not is_whole:
                reply.cancel()
            self._screen.end(reply, "" if is_whole else STOPPED if self._is_stopped else BROKEN_OFF)

    def _messages_with_system(self) -> list[Message]:
        return [*([Message(SYSTEM, self._system)] if self._system else []), *self._messages]

    # ------------------------------------------------------------------ commands

    def _obey(self, line: str) -> str:
        """Carries out a command; returns what to say."""
        name, *rest = line.split(maxsplit=1)
        value = rest[0] if rest else ""
        commands: dict[str, Callable[[str], str]] = {
            "/help": self._help,
            "/reset": self._reset,
            "/save": self._save,
            "/system": self._set_system,
            "/raw": self._describe_raw,
            "/temperature": self._set_temperature,
        }
        if name not in commands:
            raise InputError(f"{name} is no command.", "/help shows them.")
        return commands[name](value)

    def _help(self, value: str) -> str:
        width = max(map(len, COMMANDS))
        return "\n".join(f"{command:<{width}}  {text}" for command, text in COMMANDS.items())

    def _reset(self, value: str) -> str:
        self._messages, self._heard, self._last = [], [], None
        return "The conversation is forgotten."

    def _save(self, name: str) -> str:
        if not name:
            raise InputError("/save needs the name of a file.", "For instance: /save conversation.jsonl")
        messages = self._messages_with_system()
        lines = [json.dumps({"role": one.role, "content": one.text}, ensure_ascii=False) + "\n" for one in messages]
        path = Path(name)
        try:
            path = path.expanduser()
            with path.open("x", encoding="utf-8") as file:  # fails where the file is there
                file.writelines(lines)
        except FileExistsError as error:
            raise InputError(f"{path} exists.", "Name another file.") from error
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{path} cannot be written: {reason}.", "Name another file.") from error
        return f"{len(messages)} messages: {path}"

    def _set_system(self, text: str) -> str:
        if text:
            if len(text) > MAX_LENGTH:
                raise InputError(f"The text has {len(text):,} characters; {MAX_LENGTH:,} are read.", "Shorten it.")
            self._system = "" if text == "-" else normalize_whitespace(text)
        return f"Added to the system prompt: {self._system or 'nothing'}"

    def _describe_raw(self, value: str) -> str:
        if self._last is None:
            raise InputError("There is no answer yet.")
        try:
            generated = self._last.generated
        except RunError as error:
            return f"There is no whole answer. {error.what}"
        if generated is None:
            return "The model was not asked: this is fixed advice."
        shown = strip_fixed_text(self._last)
        changes = describe_changes(generated.text, shown)
        if not self._service.safety:
            return f"Safety is off: nothing was changed.\n{changes}"
        if not self._last.is_done:
            return f"The answer was stopped. Lines with - were not shown:\n{changes}"
        if changes == generated.text.strip():
            return f"The guard changed nothing.\n{changes}"
        actions = self._last.guarded.actions if self._last.guarded else {}
        done = ", ".join(f"{action} {count}" for action, count in actions.items() if action != "notice")
        return f"The guard ({done or 'spaces'}): - the model wrote, + you were shown\n{changes}"

    def _set_temperature(self, value: str) -> str:
        if value:
            try:
                number = float(value)
            except ValueError as error:
                raise InputError(f"{value!r} is no number.", "For instance: /temperature 0.7") from error
            self._decoding = replace(self._decoding, temperature=number)
        return f"Temperature {self._decoding.temperature:g}."
