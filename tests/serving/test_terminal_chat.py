"""A conversation in the terminal, with a model that says what the test wants: answers, commands, errors, Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lightning_med.inference.decoding import Decoding
from lightning_med.inference.engines.answer_stream import AnswerStream
from lightning_med.safety import triage
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.safety.messages.advice import get_notice
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.conversation import Conversation
from lightning_med.serving.reply import Reply, Written
from lightning_med.serving.terminal_chat import TerminalChat
from lightning_med.utils.signals import call_on_interrupt
from tests.serving.noted_screen import CHEST, QUESTION, Noted, talk
from tests.serving.scripted_model import ANSWER, ScriptedWriter
from tests.signal_fixtures import handlers  # noqa: F401 - pytest finds fixtures here by name

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


def test_advice_is_not_broken_off_and_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ScriptedWriter()
    screen = Noted()
    chat = TerminalChat(ChatService(writer, "GB"), screen, writer.decoding)
    begin = screen.begin
    screen.begin = lambda reply: [begin(reply), chat.stop()][0]  # Ctrl-C while the danger is found
    chat.run([CHEST])
    assert screen.answers[0].startswith("What you describe may be an emergency.")
    screen.begin = begin
    chat.run(["What should I eat?"])
    assert get_notice("earlier") in screen.answers[1]


def test_a_danger_in_a_message_without_an_answer_counts() -> None:
    writer = ScriptedWriter()
    screen = Noted()
    chat = TerminalChat(ChatService(writer, "GB"), screen, writer.decoding)
    writer.gate.clear()
    begin = screen.begin
    screen.begin = lambda reply: [begin(reply), chat.stop()][0]  # stopped before its first word
    chat.run(["My left arm feels heavy."])
    screen.begin = begin
    chat.run(["My chest too"])
    assert screen.answers[1].startswith("What you describe may be an emergency.")


def test_a_refused_message_does_not_go_to_the_model() -> None:
    writer = ScriptedWriter()
    screen = talk(writer, "How can I kill my neighbour with insulin?", "thanks", "how much of it would that take?")
    assert screen.answers[0].startswith("I cannot help with this")
    assert not [question for asked in writer.asked for question in asked.questions if "neighbour" in question]


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


@pytest.mark.usefixtures("handlers")
def test_the_handler_of_ctrl_c_is_restored() -> None:
    before: Callable[..., Any] | int | None = signal.getsignal(signal.SIGINT)
    with call_on_interrupt(lambda: None):
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
