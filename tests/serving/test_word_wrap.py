"""Text for a terminal: printable, and broken between words in any width and in any pieces."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lightning_med.serving.word_wrap import WordWrap, make_printable


def wrap(text: str, width: int, *cuts: int) -> str:
    wrapper = WordWrap(lambda: width)
    places = [0, *sorted(cuts), len(text)]
    parts = [wrapper.feed(text[start:end]) for start, end in itertools.pairwise(places)]
    return "".join(parts) + wrapper.flush()


def test_lines_are_broken_between_words() -> None:
    assert wrap("Rest your voice and drink tea.", 10) == "Rest your\nvoice and\ndrink tea."


def test_line_ends_and_leading_spaces_stay() -> None:
    assert wrap("One.\n\n  Two three.\n", 8) == "One.\n\n  Two\nthree.\n"


def test_a_word_that_is_wider_than_the_terminal_is_cut() -> None:
    assert wrap("an otorhinolaryngologist", 6) == "an\notorhi\nnolary\nngolog\nist"


def test_a_word_in_two_pieces_stays_whole() -> None:
    assert wrap("a tongue", 6, 5) == "a\ntongue"


def test_a_terminal_may_change_its_width() -> None:
    widths = iter([20, 5, 5])
    wrapper = WordWrap(lambda: next(widths))
    assert wrapper.feed("drink tea ") + wrapper.feed("now and then ") + wrapper.flush() == "drink tea\nnow\nand\nthen"


@given(st.text("ab c\n字é", max_size=80), st.integers(2, 12), st.lists(st.integers(0, 80), max_size=5))
def test_no_line_is_too_wide_and_no_word_is_lost(text: str, width: int, cuts: list[int]) -> None:
    wrapped = wrap(text, width, *(min(cut, len(text)) for cut in cuts))
    assert wrapped == wrap(text, width)
    assert all(cell_len(line) <= width for line in wrapped.split("\n"))
    assert "".join(wrapped.split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x07", "a\\x1b[31mred\\x07"),
        ("a\tb\r\nc\rd", "a b\nc\\x0dd"),
        ("8-bit \x9b31m", "8-bit \\x9b31m"),
        ("left\u202eright\u200b", "leftright"),
        ("line\u2028end", "line\nend"),
        ("[bold]ä 字[/bold]", "[bold]ä 字[/bold]"),
    ],
)
def test_control_characters_are_made_visible(text: str, shown: str) -> None:
    assert make_printable(text) == shown


@given(st.text())
def test_no_text_steers_a_terminal(text: str) -> None:
    shown = make_printable(text)
    assert not [char for char in shown if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
