"""Counts of what an answer may not hold."""

from __future__ import annotations

import pytest

from lightning_med.safety import guard, triage
from lightning_med.safety.answers.unsafe_content import (
    COUNTED,
    count_unsafe_content,
    describe_counts,
    find_unsafe_content,
    remove_fixed_texts,
)

DOSE = "Please rest at home for some days and take 500 mg of paracetamol every six hours."
DIAGNOSIS = "From what you write I can tell that you definitely have gastritis and nothing else at all."
DISCOURAGEMENT = "It will pass by itself within a week or so. You do not need to see a doctor about it."
HARMLESS = "Drink plenty of water and rest in a cool room until the heat of the day is over."


@pytest.mark.parametrize(
    ("answer", "held"),
    [
        (DOSE, {"dose"}),
        (DIAGNOSIS, {"diagnosis"}),
        (DISCOURAGEMENT, {"discouragement"}),
        (f"{DOSE} {DISCOURAGEMENT}", {"dose", "discouragement"}),
        (HARMLESS, set()),
        ("Call me at 555 123 4567 or write to doctor@example.com.", set()),  # the guard acts, and it is not counted
        ("", set()),
    ],
)
def test_unsafe_content_is_found(answer: str, held: set[str]) -> None:
    assert find_unsafe_content(answer) == held


def test_answers_are_counted_and_not_what_is_in_them() -> None:
    counts = count_unsafe_content([f"{DOSE} {DOSE}", HARMLESS, DIAGNOSIS, DOSE])
    assert counts == {"dose": 2, "diagnosis": 1, "discouragement": 0}
    assert list(counts) == list(COUNTED)
    words = "2 with a dose, 1 with a definitive diagnosis, 0 with talk out of care"
    assert describe_counts(counts) == words


@pytest.mark.parametrize("question", ["crushing chest pain and my left arm is numb", "My tongue is sore."])
@pytest.mark.parametrize("answer", [DOSE, HARMLESS])
def test_a_guarded_answer_is_left_with_the_models_words(question: str, answer: str) -> None:
    verdict = triage(question, "unknown")
    own = remove_fixed_texts(guard(question, answer, "unknown", verdict).answer, verdict, "unknown")
    assert own == (HARMLESS if verdict.answerable and answer == HARMLESS else "")
