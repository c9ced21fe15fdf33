"""A conversation in the terminal, with a model that says what the test wants: answers, commands, errors, Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from lightning_med.inference.decoding import Decoding
from lightning_med.inference.engines.answer_stream import AnswerStream
from lightning_med.safety import triage
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.safety.messages.advice import get_notice
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.conversation import Conversation
from lightning_med.serving.reply import Reply, Written
from lightning_med.serving.terminal_chat import COMMANDS, TerminalChat
from lightning_med.serving.terminal_screen import STOPPED, JsonScreen, PlainScreen, Screen, TerminalScreen
from lightning_med.utils.signals import call_on_interrupt
from tests.serving.scripted_model import ANSWER, ScriptedWriter
from tests.signal_fixtures import handlers  # noqa: F401 - pytest finds fixtures here by name

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

    def end(self, reply: Reply, is_stopped: bool) -> None:
        self.stopped.append(is_stopped)

    def say(self, text: str) -> None:
        self.said.append(text)


def talk(writer: Any, *lines: str, safety: bool = True, screen: Screen | None = None) -> Any:
    """Has a conversation; returns the screen."""
    screen = screen or Noted()
    TerminalChat(ChatService(writer, "GB", safety), screen, writer.decoding).run(lines)
    return screen


# ------------------------------------------------------------------ answers


def test_a_message_is_answered_under_guard_with_the_disclaimer() -> None:
    screen = talk(ScriptedWriter(), f"  {QUESTION}\n", "\n", "   ")
    assert screen.answers == [f"{ANSWER}\n\n{DISCLAIMER}"]
    assert screen.stopped == [False]


def test_what_was_said_goes_to_the_model_without_fixed_texts() -> None:
    writer = ScriptedWriter()
    talk(writer, QUESTION, "My leg is swollen.", "Should I drink tea?")
    assert triage("My leg is swollen.").level == "urgent"
    last = writer.asked[-1]
    assert last.questions == (QUESTION, "My leg is swollen.", "Should I drink tea?")
    assert last.answers == (ANSWER, ANSWER)


def test_without_safety_the_notice_of_it_does_not_go_to_the_model() -> None:
    writer = ScriptedWriter("Take 500 mg now.")
    screen = talk(writer, QUESTION, "And then?", safety=False)
    assert screen.answers[0] == f"Take 500 mg now.\n\n{get_notice('off')}\n\n{DISCLAIMER}"
    assert writer.asked[-1].answers == ("Take 500 mg now.",)


def test_after_an_alarm_the_model_is_asked_only_when_the_person_writes_on() -> None:
    writer = ScriptedWriter()
    screen = talk(writer, CHEST)
    assert writer.asked == []
    assert screen.answers[0].startswith("What you describe may be an emergency.")
    screen = talk(writer, CHEST, "What should I eat?")
    assert len(writer.asked) == 1
    assert writer.asked[0].questions == (CHEST, "What should I eat?")
    assert writer.asked[0].answers == (triage(CHEST, "GB").advice,)
    notice = f"{get_notice('earlier')}\n{triage(CHEST, 'GB').advice}\n\n"
    assert screen.answers[1] == f"{notice}{ANSWER}\n\n{DISCLAIMER}"


def test_a_message_that_is_too_long_is_a_line_and_the_chat_goes_on() -> None:
    screen = talk(ScriptedWriter(), "x" * 20_001, QUESTION)
    assert screen.said == ["The message has 20,001 characters; 20,000 are read. Shorten it."]
    assert len(screen.answers) == 1


class Failing(ScriptedWriter):
    """A model whose first answer is broken off after a sentence."""

    def write(self, conversation: Conversation, decoding: Decoding) -> Written:
        if self.asked:
            return super().write(conversation, decoding)
        self.asked.append(conversation)
        stream = AnswerStream()
        stream.extend("Rest your voice")
        stream.fail(MemoryError("no room\nfor it"))
        return Written(stream, 3)


def test_a_failure_of_the_engine_is_a_line_and_the_next_message_is_answered() -> None:
    writer = Failing()
    screen = talk(writer, QUESTION, "/raw", "Should I drink tea?")
    broken = "The answer was broken off: no room for it"
    assert screen.said == [broken, f"There is no whole answer. {broken}"]
    assert screen.answers == ["", f"{ANSWER}\n\n{DISCLAIMER}"]
    assert screen.stopped == [True, False]
    assert writer.asked[-1] == Conversation(("Should I drink tea?",))


# ------------------------------------------------------------------ Ctrl-C


class Stopping(Noted):
    """A person who presses Ctrl-C, often, as soon as an answer shows what they wait for."""

    def __init__(self, seen: str) -> None:
        super().__init__()
        self.seen = seen

    def begin(self, reply: Reply) -> None:
        super().begin(reply)
        self.add("")

    def add(self, text: str) -> None:
        super().add(text)
        if self.seen in self.answers[-1] and len(self.answers) == 1:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)


class Waiting(ScriptedWriter):
    """A model that never goes beyond the beginning of its first answer."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self.beginning = beginning

    def write(self, conversation: Conversation, decoding: Decoding) -> Written:
        if self.asked:
            return super().write(conversation, decoding)
        self.asked.append(conversation)
        self.streams.append(AnswerStream())
        if self.beginning:
            self.streams[0].extend(self.beginning)
        return Written(self.streams[0], 3)


def interrupt(writer: ScriptedWriter, screen: Noted, *lines: str) -> None:
    chat = TerminalChat(ChatService(writer, "GB"), screen, writer.decoding)
    with call_on_interrupt(chat.stop):
        chat.run(lines)


def test_ctrl_c_stops_an_answer_and_what_was_shown_stays() -> None:
    writer, screen = Waiting("Rest your voice and drink warm tea. Then you"), Stopping("warm tea.")
    interrupt(writer, screen, QUESTION, "/raw", "Why?")
    assert screen.answers[0] == "Rest your voice and drink warm tea."
    assert screen.stopped == [True, False]
    assert writer.streams[0].is_cancelled
    assert screen.said == [
        "The answer was stopped. Lines with - were not shown:\n  Rest your voice and drink warm tea.\n- Then you"
    ]
    assert writer.asked[1] == Conversation((QUESTION, "Why?"), ("Rest your voice and drink warm tea.",))


def test_ctrl_c_before_the_first_sentence_forgets_the_question() -> None:
    writer, screen = Waiting(""), Stopping("")
    interrupt(writer, screen, QUESTION, "Why?")
    assert screen.answers == ["", f"{ANSWER}\n\n{DISCLAIMER}"]
    assert screen.stopped == [True, False]
    assert writer.asked[1] == Conversation(("Why?",))


def test_ctrl_c_during_triage_stops_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(messages: Any, region: str | None) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return triage(messages[-1], region)

    monkeypatch.setattr("lightning_med.serving.chat_service.triage_conversation", judge)
    writer, screen = ScriptedWriter(), Noted()
    interrupt(writer, screen, QUESTION)
    assert screen.answers == [""]
    assert screen.stopped == [True]


def test_ctrl_c_between_two_answers_stops_neither() -> None:
    def read() -> Iterator[str]:
        os.kill(os.getpid(), signal.SIGINT)
        yield QUESTION

    writer, screen = ScriptedWriter(), Noted()
    chat = TerminalChat(ChatService(writer, "GB"), screen, writer.decoding)
    with call_on_interrupt(chat.stop):
        chat.run(read())
    assert screen.stopped == [False]


# ------------------------------------------------------------------ commands


def test_help_names_every_command_and_each_is_one() -> None:
    screen = talk(ScriptedWriter(), "/help", *(command.split()[0] for command in COMMANDS))
    assert all(command in screen.said[0] and text in screen.said[0] for command, text in COMMANDS.items())
    assert not [said for said in screen.said if "is no command" in said]


def test_quit_ends() -> None:
    assert talk(ScriptedWriter(), "/quit", QUESTION).answers == []


@pytest.mark.parametrize("line", ["/", "/Reset", "/helpme", "/etc/passwd is a file"])
def test_an_unknown_command_is_a_line(line: str) -> None:
    screen = talk(ScriptedWriter(), line, QUESTION)
    assert screen.said == [f"{line.split()[0]} is no command. /help shows them."]
    assert len(screen.answers) == 1


def test_reset_forgets_what_was_said() -> None:
    writer = ScriptedWriter()
    screen = talk(writer, CHEST, "/system Be kind.", "/reset", "/raw", "Should I drink tea?")
    assert writer.asked == [Conversation(("Should I drink tea?",), (), "Be kind.")]
    assert screen.said[1:] == ["The conversation is forgotten.", "There is no answer yet."]
    assert screen.answers[-1] == f"{ANSWER}\n\n{DISCLAIMER}"


def test_save_writes_json_lines_and_never_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "my talk.jsonl"
    screen = talk(ScriptedWriter("Tee trinken und die Stimme für ein paar Tage schonen 字."), QUESTION, f"/save {path}")
    assert screen.said == [f"2 messages: {path}"]
    assert "字" in path.read_text(encoding="utf-8")
    before = path.read_bytes()
    screen = talk(ScriptedWriter(), "/system Be kind.", QUESTION, f"/save {path}", f"/save {tmp_path / 'b'}")
    assert screen.said[1] == f"{path} exists. Name another file."
    assert path.read_bytes() == before
    rows = [json.loads(line) for line in (tmp_path / "b").read_text(encoding="utf-8").splitlines()]
    assert rows == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": ANSWER},
    ]


@pytest.mark.parametrize("name", ["", "no/such/folder/file", "a\0b", "x" * 300, "~nobodyofthisname/file"])
def test_save_says_in_a_line_what_is_wrong(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (said,) = talk(ScriptedWriter(), f"/save {name}").said
    assert "\n" not in said
    assert "needs the name of a file" in said or "cannot be written" in said
    assert not list(tmp_path.iterdir())


def test_a_system_text_is_added_shown_replaced_and_taken_away() -> None:
    writer = ScriptedWriter()
    said = talk(
        writer, "/system", "/system Be kind.", "/system", "a?", "/system Be\t short.", "b?", "/system -", "c?"
    ).said
    assert said == [
        f"Added to the system prompt: {text}" for text in ("nothing", "Be kind.", "Be kind.", "Be short.", "nothing")
    ]
    assert [conversation.system for conversation in writer.asked] == ["Be kind.", "Be short.", ""]


def test_a_system_text_that_is_too_long_is_refused_at_once() -> None:
    screen = talk(ScriptedWriter(), "/system " + "x" * 20_001, QUESTION)
    assert screen.said == ["The text has 20,001 characters; 20,000 are read. Shorten it."]
    assert len(screen.answers) == 1


def test_the_temperature_is_set_shown_and_checked() -> None:
    writer = ScriptedWriter()
    lines = ["/temperature", "/temperature 0.7", "a?", "/temperature hot", "/temperature -1", "/temperature nan"]
    said = talk(writer, *lines, "/temperature inf", "/temperature", "b?").said
    assert said == [
        "Temperature 0.",
        "Temperature 0.7.",
        "'hot' is no number. For instance: /temperature 0.7",
        "temperature is -1.0. It must be between 0 and 100.",
        "temperature is nan. It must be between 0 and 100.",
        "temperature is inf. It must be between 0 and 100.",
        "Temperature 0.7.",
    ]
    assert [decoding.temperature for decoding in writer.decodings] == [0.7, 0.7]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ANSWER, f"The guard changed nothing.\n{ANSWER}"),
        (
            DOSE,
            "The guard (dose 1): - the model wrote, + you were shown\n"
            "  A sore tongue heals within some days.\n"
            "- Take 500 mg of paracetamol now.\n"
            "  Drink warm tea and rest your voice.\n"
            "+ Please ask a doctor or a pharmacist which medicine is right for you, and how to take it.",
        ),
    ],
)
def test_raw_shows_both_texts_where_they_differ(answer: str, said: str) -> None:
    assert talk(ScriptedWriter(answer), QUESTION, "/raw").said == [said]


def test_raw_of_a_replaced_answer_shows_both() -> None:
    (said,) = talk(ScriptedWriter("Take it."), QUESTION, "/raw").said
    assert said.startswith("The guard (fallback 1): - the model wrote, + you were shown\n- Take it.\n+ Thank you")


def test_raw_without_a_model_and_without_safety() -> None:
    assert talk(ScriptedWriter(), CHEST, "/raw").said == ["The model was not asked: this is fixed advice."]
    said = talk(ScriptedWriter("Take it."), QUESTION, "/raw", safety=False).said
    assert said == ["Safety is off: nothing was changed.\nTake it."]


# ------------------------------------------------------------------ screens

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
    screen.end(reply, is_stopped=True)
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


@pytest.mark.usefixtures("handlers")
def test_the_handler_of_ctrl_c_is_restored() -> None:
    before: Callable[..., Any] | int | None = signal.getsignal(signal.SIGINT)
    with call_on_interrupt(lambda: None):
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
