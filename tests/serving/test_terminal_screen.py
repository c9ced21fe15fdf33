"""Screens of a conversation: a terminal with frames and wrapping, plain text, lines of JSON."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.conversation import Conversation
from lightning_med.serving.terminal_screen import STOPPED, JsonScreen, PlainScreen, TerminalScreen
from tests.serving.noted_screen import CHEST, DOSE, QUESTION, talk
from tests.serving.scripted_model import ANSWER, ScriptedWriter

MARKUP = (
    "[bold]Rest[/bold] your voice, <b>drink</b> :smile: tea \x1b[31mred\x07 and wait [link=x]here[/link] some days."
)


def show(writer: Any, *lines: str, width: int = 60, **options: Any) -> str:
    """Returns what a terminal with colours gets."""
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=True, width=width, highlight=False, color_system="standard", _environ={}
    )
    talk(writer, *lines, screen=TerminalScreen(console), **options)
    return file.getvalue()


def remove_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_shows_markup_as_text_and_no_control_character() -> None:
    shown = show(ScriptedWriter(MARKUP), QUESTION, "/raw", f"/system {MARKUP}", safety=False)
    assert set(re.findall(r"\x1b[^m]*m", shown)) <= {"\x1b[2m", "\x1b[0m"}  # the dim disclaimer
    text = " ".join(remove_styles(shown).split())
    assert text.count(MARKUP.replace("\x1b", "\\x1b").replace("\x07", "\\x07")) == 3
    assert "\x07" not in shown


def test_a_terminal_shows_what_the_guard_lets_through_once() -> None:
    shown = " ".join(remove_styles(show(ScriptedWriter(DOSE), QUESTION)).split())
    assert shown.startswith("A sore tongue heals within some days. Drink warm tea and rest your voice. Please ask")
    assert shown.endswith(DISCLAIMER)
    assert shown.count(DISCLAIMER) == 1


@pytest.mark.parametrize("lines", [[CHEST], [CHEST, "What should I eat?"]])
def test_the_advice_of_an_alarm_has_a_red_frame(lines: list[str]) -> None:
    shown = show(ScriptedWriter(), *lines)
    assert shown.count("\x1b[1;31m╭") == len(lines)
    words = " ".join(remove_styles(shown).replace("│", " ").split())
    assert words.count("Please call 999 now") == len(lines)  # in the frame alone
    assert words.count(" Emergency ") == 1
    assert words.count(DISCLAIMER) == len(lines)
    assert words.count(ANSWER) == len(lines) - 1


def test_the_notice_of_an_urgent_message_has_a_frame_that_is_not_red() -> None:
    shown = show(ScriptedWriter(), "My leg is swollen.")
    assert "\x1b[33m╭" in shown
    assert "31m" not in shown
    assert ANSWER in " ".join(remove_styles(shown).split())


@pytest.mark.parametrize("width", [1, 5, 12, 24, 200])
def test_a_narrow_terminal_breaks_between_words(width: int) -> None:
    lines = remove_styles(show(ScriptedWriter(), QUESTION, "/help", width=width)).split("\n")
    assert max(map(cell_len, lines)) <= max(width, 2)
    if width >= 12:
        assert " ".join(" ".join(lines).split()).startswith(ANSWER)
    show(ScriptedWriter(), CHEST, width=width)  # a frame needs some columns, but breaks nothing


def test_a_terminal_says_that_an_answer_was_stopped_with_the_disclaimer() -> None:
    file = io.StringIO()
    screen = TerminalScreen(Console(file=file, width=200, _environ={}))
    reply = ChatService(ScriptedWriter(), "GB").reply(Conversation((QUESTION,)))
    screen.begin(reply)
    screen.add("Rest your voice.")
    screen.end(reply, STOPPED)
    assert file.getvalue().replace("\n", " ").split() == f"Rest your voice. {STOPPED} {DISCLAIMER}".split()


def test_a_pipe_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    talk(ScriptedWriter(MARKUP), QUESTION, "/temperature", screen=PlainScreen(), safety=False)
    out, err = capsys.readouterr()
    assert out.startswith(MARKUP.replace("\x1b", "\\x1b").replace("\x07", "\\x07"))
    assert out.endswith(f"{DISCLAIMER}\n\n")
    assert "\x1b" not in out
    assert err == "Temperature 0.\n"


@pytest.mark.parametrize(
    ("writer", "line", "level"), [(ScriptedWriter(DOSE), QUESTION, "ordinary"), (ScriptedWriter(), CHEST, "emergency")]
)
def test_json_is_a_line_for_each_answer(
    writer: ScriptedWriter, line: str, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(writer, line, "/raw", "", screen=JsonScreen())
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert list(row) == ["question", "answer", "raw", "level", "category", "guard", "advice"]
    assert (row["question"], row["level"]) == (line, level)
    assert row["raw"] == (DOSE if level == "ordinary" else "")
    assert row["answer"].endswith(DISCLAIMER)


def test_json_without_safety(capsys: pytest.CaptureFixture[str]) -> None:
    talk(ScriptedWriter(DOSE), QUESTION, screen=JsonScreen(), safety=False)
    row = json.loads(capsys.readouterr().out)
    assert (row["level"], row["raw"], row["guard"]) == ("unchecked", DOSE, {})
