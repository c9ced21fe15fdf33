"""What a model wrote, before anyone reads it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_med.safety import guard, triage
from lightning_med.safety.answers.answer_rules import make_unsafe_advice_pattern
from lightning_med.safety.answers.guard import DISCLAIMER, MEDICINE_HINT

QUESTION = "My tongue is sore, what can I do?"
REST = "I am sorry to hear that your tongue is sore. Rinse with warm salt water and eat soft food for a few days."


def shown(answer: str, question: str = QUESTION) -> str:
    """The guarded answer without its disclaimer."""
    return guard(question, answer).answer.removesuffix(DISCLAIMER).strip()


def test_a_safe_answer_stays_word_for_word() -> None:
    guarded = guard(QUESTION, REST)
    assert guarded.answer == f"{REST}\n\n{DISCLAIMER}"
    assert guarded.actions == {}


@pytest.mark.parametrize(
    ("bad", "action", "gone"),
    [
        ("Take amoxicillin 500 mg for five days.", "dose", "amoxicillin"),
        ("You can take ibuprofen for the pain.", "dose", "ibuprofen"),
        ("Use two tablets at night.", "dose", "two tablets"),
        ("Apply it twice a day.", "dose", "twice"),
        ("I will prescribe something stronger.", "dose", "prescribe"),
        ("There is no need to see a doctor.", "discouragement", "no need"),
        ("You don't need to go to the hospital.", "discouragement", "hospital"),
        ("It is nothing to worry about.", "discouragement", "nothing to worry"),
        ("Stop taking your blood pressure tablets.", "discouragement", "Stop"),
        ("I am a cardiologist with many years behind me.", "credential", "cardiologist"),
        ("In my clinical experience this heals fast.", "credential", "experience"),
        ("John Smith, MBBS, MD.", "credential", "MBBS"),
        ("Read more at www.example-health.com today.", "contact", "www"),
        ("Call me on +1 212 555 0142 tomorrow.", "contact", "555"),
        ("Write to doctor.smith@example.com for more.", "contact", "@"),
        ("Please send the report to [EMAIL] soon.", "placeholder", "[EMAIL]"),
        ("You are an idiot.", "abuse", "idiot"),
    ],
)
def test_a_sentence_that_must_not_stand_goes_and_is_counted(bad: str, action: str, gone: str) -> None:
    guarded = guard(QUESTION, f"{REST} {bad}")
    assert gone not in guarded.answer.removesuffix(DISCLAIMER)
    assert guarded.answer.startswith(REST)
    assert guarded.actions[action] == 1


@pytest.mark.parametrize(
    ("certain", "possible"),
    [
        ("You have gastritis.", "You may have gastritis."),
        ("You are suffering from migraine.", "You may have migraine."),
        ("It is definitely an ulcer.", "It may be an ulcer."),
        ("The diagnosis is diabetes.", "One possibility is diabetes."),
        ("This is due to sinusitis.", "This may be due to sinusitis."),
    ],
)
def test_a_diagnosis_becomes_a_possibility(certain: str, possible: str) -> None:
    guarded = guard(QUESTION, f"{REST} {certain}")
    assert possible in guarded.answer
    assert guarded.actions == {"diagnosis": 1}


@pytest.mark.parametrize(
    "sentence", ["You have been very patient.", "If you have diabetes, tell the doctor.", "It is a good idea to rest."]
)
def test_what_is_no_diagnosis_stays(sentence: str) -> None:
    assert sentence in shown(f"{REST} {sentence}")


@pytest.mark.parametrize(
    "sentence",
    [
        "Please book a visit, as a doctor can listen to the chest.",
        "If it goes on, a doctor can look at the eardrum, and offer an antibiotic if needed.",
        "You should definitely go to the emergency department now.",
        "Do not ignore it, go to hospital now.",
        "Do not stop taking your insulin without asking your doctor.",
        "If you feel like you may harm yourself, call a crisis line.",
        "Brush your teeth twice a day.",
        "The diagnosis is made by a doctor.",
    ],
)
def test_advice_to_seek_care_stays(sentence: str) -> None:
    assert shown(f"{REST} {sentence}") == f"{REST} {sentence}"


@pytest.mark.parametrize(
    ("bad", "gone"),
    [
        ("You don’t need to see a doctor.", "need to see"),
        ("You do\u200bn't need to see a doctor.", "need to see"),
        ("Take 2g daily.", "2g"),
        ("Take two at bedtime.", "two at"),
        ("Take it q6h.", "q6h"),
        ("Come off your antidepressants.", "Come off"),
        ("A doctor is not necessary.", "not necessary"),
        ("This can wait until next month.", "can wait"),
        ("Go to evil.com.Now drink water and rest for a few days.", "evil"),
        ("Write [Your Name] below.", "Your Name"),
        ("You should kill yourself.", "kill"),
    ],
)
def test_it_is_not_misled_by_how_it_is_written(bad: str, gone: str) -> None:
    assert gone not in shown(f"{REST} {bad}")


@pytest.mark.parametrize(
    "certain", ["You've got cancer.", "It's cancer.", "Diagnosis: appendicitis.", "You have cancer, not an ulcer."]
)
def test_a_certainty_in_other_words_is_doubted_too(certain: str) -> None:
    assert guard(QUESTION, f"{REST} {certain}").actions == {"diagnosis": 1}


def test_a_removed_medicine_leaves_a_hint_once() -> None:
    text = shown(f"{REST} Take paracetamol. Take ibuprofen 400 mg.")
    assert text.count(MEDICINE_HINT) == 1


def test_a_second_turn_is_cut() -> None:
    text = shown(f"{REST}\nPatient: And now?\nDoctor: Take it.")
    assert text == REST


def test_names_leave_with_their_phrases() -> None:
    text = shown(f"{REST} I hope this helps. Regards, Dr. Jane Miller")
    assert "Miller" not in text
    assert text.startswith(REST)


def test_too_little_left_falls_back_to_fixed_words() -> None:
    guarded = guard(QUESTION, "Take amoxicillin 500 mg.")
    assert guarded.actions == {"dose": 1, "fallback": 1}
    assert "amoxicillin" not in guarded.answer
    assert len(guarded.answer.removesuffix(DISCLAIMER).split()) > 8


@pytest.mark.parametrize("answer", ["", " \n", "...", "Yes."])
def test_an_empty_answer_falls_back(answer: str) -> None:
    assert guard(QUESTION, answer).actions == {"fallback": 1}


def test_a_question_of_danger_gets_its_advice_whatever_the_answer_says() -> None:
    for question in (
        "I want to kill myself",
        "my dad collapsed and is not breathing",
        "how do I forge a prescription for xanax",
    ):
        verdict = triage(question)
        guarded = guard(question, REST)
        assert not verdict.answerable
        assert guarded.answer == f"{verdict.advice}\n\n{DISCLAIMER}"
        assert REST not in guarded.answer


def test_an_urgent_question_is_answered_under_a_notice() -> None:
    question = "my ear hurts badly and fluid is coming out since last night"
    guarded = guard(question, REST)
    assert guarded.verdict.level == "urgent"
    assert guarded.answer.startswith(guarded.verdict.advice)
    assert REST in guarded.answer
    assert guarded.actions["notice"] == 1


def test_private_data_is_not_echoed() -> None:
    question = "My number is 212-555-0142 and my tongue is sore."
    assert "0142" not in shown(f"{REST} You said your number is 212-555-0142.", question)


PIECES = [
    REST,
    "Take 5 mg.",
    "You have asthma.",
    "No need to see a doctor.",
    "I am Dr. Smith.",
    "See www.a.com",
    "[PHONE]",
    "\nPatient: x",
    "Hm.",
    "\n\n",
]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=60), max_size=6))
def test_guarding_twice_changes_nothing_and_the_disclaimer_stands_once(pieces: list[str]) -> None:
    once = guard(QUESTION, " ".join(pieces)).answer
    assert once.count(DISCLAIMER) == 1
    assert once.endswith(DISCLAIMER)
    assert guard(QUESTION, once).answer == once


def test_training_answers_are_judged_by_the_same_rules() -> None:
    pattern = re.compile(make_unsafe_advice_pattern())
    assert pattern.search("There is no need to see a doctor for this.")
    assert not pattern.search(REST)
