"""What the tests of the terminal chat share: questions, and a screen that keeps what it is told."""

from __future__ import annotations

from typing import Any

from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.reply import Reply
from lightning_med.serving.terminal_chat import TerminalChat
from lightning_med.serving.terminal_screen import PlainScreen, Screen

QUESTION = "My tongue is sore, what can I do?"
CHEST = "I have crushing chest pain and my left arm is numb"
DOSE = "A sore tongue heals within some days. Take 500 mg of paracetamol now. Drink warm tea and rest your voice."


class Noted(PlainScreen):
    """A screen that keeps what it is told."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.said: list[str] = []
        self.stopped: list[bool] = []

    def begin(self, reply: Reply) -> None:
        self.answers.append("")

    def add(self, text: str) -> None:
        self.answers[-1] += text

    def end(self, reply: Reply, ending: str) -> None:
        self.stopped.append(bool(ending))

    def say(self, text: str) -> None:
        self.said.append(text)


def talk(writer: Any, *lines: str, safety: bool = True, screen: Screen | None = None) -> Any:
    """Has a conversation; returns the screen."""
    screen = screen or Noted()
    TerminalChat(ChatService(writer, "GB", safety), screen, writer.decoding).run(lines)
    return screen
