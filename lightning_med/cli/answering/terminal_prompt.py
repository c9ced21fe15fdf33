"""The line that a person types in a terminal: editing, history, completion of commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer

_HINT = "Ctrl-D or /quit ends."


def read_lines(commands: Iterable[str]) -> Iterator[str]:
    """Yields what is typed until Ctrl-D; Ctrl-C discards the line.

    Args:
        commands: Words with which a line may begin; the tab key completes them.
    """
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory  # what people say about their health is not kept on disk
    from prompt_toolkit.shortcuts import CompleteStyle

    session: PromptSession[str] = PromptSession(
        history=InMemoryHistory(),
        completer=_make_completer(list(commands)),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
    )
    while True:
        try:
            # Its own handler of SIGINT would leave moments in which Ctrl-C ends the program; the key arrives without.
            yield session.prompt("> ", handle_sigint=False)
        except EOFError:
            return
        except KeyboardInterrupt:
            if not session.default_buffer.text:
                print(_HINT, flush=True)


def _make_completer(commands: list[str]) -> Completer:
    from prompt_toolkit.completion import WordCompleter

    return WordCompleter(commands, sentence=True)
