"""`lightning-med chat`: a conversation with an exported model in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_med.cli.answering.model_options import (
    add_decoding_options,
    add_model_options,
    check_decoding,
    open_service,
    read_decoding,
)
from lightning_med.cli.answering.terminal_prompt import read_lines
from lightning_med.cli.parsing.arguments import Parser
from lightning_med.cli.verbs.triage import check_safety_settings
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.utils.signals import call_on_interrupt

if TYPE_CHECKING:
    from lightning_med.inference.decoding import Decoding
    from lightning_med.serving.chat_service import ChatService

_DESCRIPTION = """Talk to an exported model in the terminal. Answers appear sentence by sentence, checked; /help shows
the commands, Ctrl-C stops an answer, Ctrl-D ends. From a pipe, each line is a message or a command."""


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    given = make_parser().parse_args(argv[1:])
    check_safety_settings(given.region)
    check_decoding(given)
    from lightning_med.serving.terminal_chat import TerminalChat  # torch comes with it: the help needs none
    from lightning_med.serving.terminal_screen import JsonScreen, PlainScreen

    service = open_service(given, slots=1)
    try:
        decoding = read_decoding(given, service.writer.decoding)
        if sys.stdin.isatty() and sys.stdout.isatty() and not given.json:
            _talk(service, decoding)
        else:
            chat = TerminalChat(service, JsonScreen() if given.json else PlainScreen(), decoding)
            return min(chat.run(_read_piped()), 1)  # who reads the output must hear of a message without an answer
    finally:
        service.close()
    return 0


def make_parser() -> Parser:
    """Returns the parser of `chat`."""
    parser = Parser("lightning-med chat", _DESCRIPTION)
    add_model_options(parser)
    add_decoding_options(parser)
    parser.add_argument(
        "--json", action="store_true", help="print each answer as a line of JSON, with its verdict and checks"
    )
    return parser


def _talk(service: ChatService, decoding: Decoding) -> None:
    """Talks to a person, whose Ctrl-C stops an answer and not the program."""
    from rich.console import Console

    from lightning_med.serving.terminal_chat import COMMANDS, TerminalChat
    from lightning_med.serving.terminal_screen import TerminalScreen

    screen = TerminalScreen(Console(highlight=False))
    screen.say(f"{DISCLAIMER}\n/help shows the commands.\n")
    chat = TerminalChat(service, screen, decoding)
    with call_on_interrupt(chat.stop):
        chat.run(read_lines(command.split()[0] for command in COMMANDS))


def _read_piped() -> Iterator[str]:
    """Yields the lines of standard input; bytes that are no UTF-8 are replaced."""
    for line in sys.stdin.buffer:
        yield line.decode("utf-8", "replace").removeprefix("\ufeff")
