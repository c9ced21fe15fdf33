"""`lightning-med chat`: a conversation with an exported model in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.cli.parsing.model_options import add_decoding_options, add_model_options, open_service, read_decoding
from lightning_med.cli.verbs.triage import check_safety_settings
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.serving.terminal_chat import TerminalChat
from lightning_med.utils.signals import Interrupted

_DESCRIPTION = """Talk to an exported model in the terminal. Answers appear sentence by sentence, checked; /help shows
the commands, Ctrl-C stops an answer, Ctrl-D ends. From a pipe, each line is a message."""


def main(argv: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = Parser("lightning-med chat", _DESCRIPTION)
    add_model_options(parser)
    add_decoding_options(parser)
    given = parser.parse_args(argv[1:])
    check_safety_settings(given.region)
    service = open_service(given, slots=1)
    is_typed = sys.stdin.isatty() and sys.stdout.isatty()
    if is_typed:
        print(f"{DISCLAIMER}\n/help shows the commands.\n", flush=True)
    try:
        chat = TerminalChat(service, _write, read_decoding(given, service.writer.decoding))
        chat.run(_read_typed() if is_typed else iter(sys.stdin))
    finally:
        service.close()
    return 0


def _write(text: str) -> None:
    print(text, end="", flush=True)


def _read_typed() -> Iterator[str]:
    """Yields what is typed, with history and editing, until Ctrl-D; Ctrl-C empties the line."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory  # what people say about their health is not kept on disk

    session: PromptSession[str] = PromptSession(history=InMemoryHistory())
    while True:
        try:
            yield session.prompt("> ")
        except EOFError:
            return
        except (KeyboardInterrupt, Interrupted):
            continue
