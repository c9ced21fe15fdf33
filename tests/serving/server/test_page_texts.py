"""Conversations of the page, and texts in its markup."""

from __future__ import annotations

import pytest

pytest.importorskip("gradio")

from lightning_med.safety import Verdict
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.serving.chat_service import ChatService
from lightning_med.serving.conversation import Conversation
from lightning_med.serving.reply import strip_fixed_text
from lightning_med.serving.server.page import texts
from lightning_med.serving.server.page.talk import Alarm, Talk, Turn
from tests.pages import EVIL, Balanced
from tests.serving.scripted_model import ANSWER, ScriptedWriter

EMERGENCY = Verdict("emergency", advice="Call 999.")
URGENT = Verdict("urgent", advice="See a doctor soon.")


@pytest.mark.parametrize(
    "markup",
    [
        texts.make_card(Alarm("urgent", f"You wrote of “{EVIL}”.\n\n- {EVIL}")),
        texts.make_note(f"{EVIL}\n\n# {EVIL}"),
        texts.make_heading(f"{EVIL}\n\n{EVIL}"),
        texts.make_facts([(EVIL, f"a\n\n{EVIL}")]),
    ],
)
def test_markup_holds_texts_as_texts_on_one_line(markup: str) -> None:
    parsed = Balanced(markup)
    assert not {"script", "img"} & {tag for tag, _ in parsed.seen}
    assert "<script>alert('x')</script>" in parsed.words
    assert len(markup.splitlines()) == 1  # an empty line would end the block of HTML, and Markdown begin
    markup.encode()


def test_an_alarm_stays_until_a_question_is_ordinary() -> None:
    talk = Talk().warn(EMERGENCY)
    assert talk.alarm == Alarm("emergency", "Call 999.")
    assert talk.warn(URGENT).alarm == talk.alarm
    assert talk.warn(Verdict("harmful", advice="I cannot help.")).alarm == talk.alarm
    assert talk.warn(Verdict("crisis", advice="Talk to someone.")).alarm == Alarm("crisis", "Talk to someone.")
    assert talk.warn(Verdict("ordinary")).alarm is None
    assert Talk().warn(URGENT).alarm == Alarm("urgent", "See a doctor soon.")
    assert Talk().warn(Verdict("harmful", advice="I cannot help.")).alarm is None


def test_the_model_is_told_of_answers_only() -> None:
    talk = Talk((Turn("one", "failed"), Turn("two", "shown", "remembered"), Turn("three", "[stopped]", "")))
    assert talk.to_conversation("four") == Conversation(("two", "three", "four"), ("remembered", ""))


@pytest.mark.parametrize("safety", [True, False])
def test_our_texts_are_not_sent_back_to_the_model(safety: bool) -> None:
    urgent = "My tongue is sore since two days. <img src=x> ![x](http://elsewhere.example/a.png)"
    for question in ("My tongue is sore since two days.", urgent):
        reply = ChatService(ScriptedWriter(), "GB", safety).reply(Conversation((question,)))
        assert reply.wait().endswith(DISCLAIMER)
        assert strip_fixed_text(reply) == ANSWER


def test_a_status_stands_where_there_is_no_answer_yet() -> None:
    talk = Talk((Turn("  a <b>\n b", "done"), Turn("c & 'd'")))
    shown = [message["content"][0]["text"] for message in texts.show_messages(talk, "Writing …")]
    assert shown == ["  a &lt;b&gt;\n b", "done", "c &amp; 'd'", "Writing …"]
