"""The placeholder is removed from greetings, introductions and signatures; where it replaced words it is counted."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.data.cleaning.chat_doctor import CHAT_DOCTOR, repair_chat_doctor
from lightning_med.data.cleaning.dropped_rows import has_lost_words

REPAIRED = [
    # greetings
    ("Hi, welcome to Chat Doctor. I read your query.", "Hi, welcome. I read your query."),
    ("Welcome to the Chat Doctor family. We care.", "Welcome. We care."),
    ("Hello, Welcome to ChatDoctorRead your query.", "Hello, Welcome. Read your query."),
    ("Hope it helps. Regards, ChatDoctor.", "Hope it helps. Regards."),
    ("Welcome to Chat DoctorI have read it", "Welcome. I have read it"),
    ("Hello! Welcome to Chat Doctor!", "Hello! Welcome!"),
    ("hi welcome to Chat Doctor, i read it", "hi welcome, i read it"),
    ("Thanks for asking on Chat Doctor forum. Rest.", "Thanks for asking. Rest."),
    ("Thank you for asking on Chat Doctor and I will help", "Thank you for asking and I will help"),
    ("Thank you for asking Chat Doctor I understand it", "Thank you for asking. I understand it"),
    ("Hi, thank you for using Chat Doctor.com I have read it", "Hi, thank you. I have read it"),
    ("Thanks for posting your query at Chat Doctor. Rest.", "Thanks for posting your query. Rest."),
    ("Thank you for contacting our Chat Doctor team", "Thank you."),
    ("Thanks for choosing Chat Doctor 5 days ago", "Thanks 5 days ago"),
    ("Greetings from Chat Doctor. Take 2.5 ml.", "Greetings. Take 2.5 ml."),
    ("Thank you for writing to Chat Doctor website. Rest.", "Thank you for writing. Rest."),
    # introductions
    ("Hi, I am Chat Doctor and I will help you", "Hi, I will help you"),
    ("Hello,I am Chat Doctor,and will answer it", "Hello,I will answer it"),
    ("Hi, I am Chat Doctor answering your query", "Hi, I am answering your query"),
    ("Hi. I am Chat Doctor. I have read it.", "Hi. I have read it."),
    ("I'm Chat Doctor, I can help", "I can help"),
    ("This is Chat Doctor. Your knee is fine.", "Your knee is fine."),
    ("Myself Chat Doctor. Let me help.", "Let me help."),
    # signatures
    ("Rest well. Regards, Chat Doctor.", "Rest well. Regards."),
    ("Rest well.\nRegards\nChat Doctor", "Rest well.\nRegards."),
    ("Take care, Chat Doctor!", "Take care."),
    ("Take care. Chat Doctor", "Take care."),
    ("Hope this helps. Chat Doctor.", "Hope this helps."),
    ("Wishing you good health, Chat Doctor.", "Wishing you good health."),
    ("Thank you - Chat Doctor", "Thank you."),
    # several
    ("Welcome to Chat Doctor. I am Chat Doctor and I read it. Regards, Chat Doctor.", "Welcome. I read it. Regards."),
]
LOST = [
    "Take an anti-inflammatory Chat Doctor. Then rest.",
    "It is due to Chat Doctor. Frequent cough follows.",
    "Avoid soft Chat Doctor. But walk.",
    "She is a child Chat Doctor and sleeps.",
    "Clotrimazole Chat Doctor 500 mg twice.",
    "I am Chat Doctor specialist in knees.",
    "I am Chat Doctor and you have a cold.",
    "I am Chat Doctor, your knee hurts.",
    "Thanks. I went to Chat Doctor. So what?",
    "Regards, Chat Doctor, General Surgeon",
    "Hi Chat Doctor, my knee hurts.",
    "Antidepressants like Chat Doctor",
    "Chat Doctor",
]
PHRASE = {
    "chat",
    "doctor",
    "welcome",
    "to",
    "the",
    "our",
    "on",
    "in",
    "at",
    "from",
    "with",
    "by",
    "through",
    "for",
    "using",
    "calling",
    "choosing",
    "contacting",
    "consulting",
    "asking",
    "i",
    "am",
    "m",
    "this",
    "is",
    "myself",
    "and",
    "com",
    "forum",
    "virtual",
    "clinic",
    "website",
    "site",
    "team",
    "family",
    "platform",
    "service",
    "services",
}


@pytest.mark.parametrize(("text", "after"), REPAIRED)
def test_a_phrase_is_repaired(text: str, after: str) -> None:
    assert repair_chat_doctor(text) == after


@pytest.mark.parametrize("text", LOST)
def test_lost_words_stay_and_are_counted(text: str) -> None:
    assert repair_chat_doctor(text) == text
    assert has_lost_words(pd.DataFrame({"question": ["Hi", text], "answer": [text, "Hi"]})).all()


@pytest.mark.parametrize(("text", "after"), REPAIRED)
def test_repaired_phrases_are_not_counted(text: str, after: str) -> None:
    assert not has_lost_words(pd.DataFrame({"question": ["Hi"], "answer": [after]})).any()


@pytest.mark.parametrize("text", ["", "Rest.", "chat doctor", "Chat with a Doctor", "Welcome to the clinic."])
def test_other_text_is_untouched(text: str) -> None:
    assert repair_chat_doctor(text) == text


def words(text: str) -> list[str]:
    return re.findall(r"\w+", re.sub(CHAT_DOCTOR, " Chat Doctor ", text).lower())


PIECES = [*(text for text, _ in REPAIRED), *LOST, "pain 500mg", "140/90", ". ", ", ", " ", "I", "and", "Rest", "\n"]


@given(st.lists(st.sampled_from(PIECES), max_size=5).map(" ".join))
def test_no_word_is_lost_but_the_phrase(text: str) -> None:
    after = iter(words(repair_chat_doctor(text)))
    kept = next(after, None)
    for word in words(text):
        if word == kept:
            kept = next(after, None)
        else:
            assert word in PHRASE
    assert kept is None
