"""Text for a terminal: without control characters, and broken between words while it is still being written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from rich.cells import cell_len, chop_cells

_PIECE = re.compile(r"\n|[^\S\n]+|\S+")


def make_printable(text: str) -> str:
    """Returns a text that cannot steer a terminal: tabs become spaces, control characters a visible escape.

    Invisible characters are dropped, since they could reverse or hide parts of a line.
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\t", " ")
    return "".join(char if char == "\n" else _make_visible(char) for char in text)


def _make_visible(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cf":
        return ""
    if category in ("Zl", "Zp"):
        return "\n"
    return f"\\x{ord(char):02x}" if category == "Cc" else "\ufffd" if category == "Cs" else char


class WordWrap:
    """Breaks text between words, although it comes in pieces.

    Args:
        get_width: Returns the columns of the terminal, which may change.
    """

    def __init__(self, get_width: Callable[[], int]) -> None:
        self._get_width = get_width
        self._column = 0
        self._blank = ""  # the spaces before the next word, which vanish where a line ends
        self._held = ""  # the beginning of a word whose rest may be in the next piece

    def feed(self, text: str) -> str:
        """Returns what may be written; the last word is held back until it is over.

        Args:
            text: Of `make_printable`.
        """
        text = self._held + text
        end = max((place for place, char in enumerate(text, 1) if char.isspace()), default=0)
        self._held = text[end:]
        return self._wrap(text[:end])

    def flush(self) -> str:
        """Returns the word that was held back; a text is over then."""
        word, self._held = self._held, ""
        return self._wrap(word)

    def _wrap(self, text: str) -> str:
        width = max(self._get_width(), 2)  # a wide character needs two columns
        parts = []
        for piece in _PIECE.findall(text):
            if piece == "\n":
                parts.append("\n")
                self._column, self._blank = 0, ""
            elif piece.isspace():
                self._blank = piece
            else:
                parts.append(self._place(piece, width))
        return "".join(parts)

    def _place(self, word: str, width: int) -> str:
        """Returns a word with what stands before it: spaces, or a line's end."""
        blank, self._blank = self._blank, ""
        if self._column + len(blank) + cell_len(word) > width:
            before, self._column = "\n" if self._column else "", 0
        else:
            before = blank
            self._column += len(blank)
        lines = chop_cells(word, width) if self._column + cell_len(word) > width else [word]
        self._column = cell_len(lines[-1]) + (self._column if len(lines) == 1 else 0)
        return before + "\n".join(lines)
