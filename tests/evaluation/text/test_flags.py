"""Degenerate sets of answers are flagged, and what doctors write is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.evaluation.text.flags import find_flags
from tests.evaluation.text.texts import ANSWERS, QUESTIONS, REFERENCES

STOCK = "Hello, thanks for your question, {}. Please see a doctor near you soon for an examination and for blood tests."


def list_kinds(answers: list[str | None], ended: list[bool | None] | None = None) -> list[str]:
    return [flag.kind for flag in find_flags(QUESTIONS, answers, REFERENCES, ended)]


def test_references_and_answers_of_others_raise_no_flag() -> None:
    assert list_kinds(REFERENCES) == []
    assert list_kinds(REFERENCES[1:] + REFERENCES[:1]) == []
    assert list_kinds([*REFERENCES[:5], None]) == []
    assert list_kinds([None] * 6) == []


def test_empty_answers() -> None:
    (flag,) = find_flags(QUESTIONS, ["", "…", *REFERENCES[2:]], REFERENCES)
    assert (flag.kind, flag.share) == ("empty", pytest.approx(1 / 3))
    assert flag.text == "33.3% of the answers have no word; of the references 0.0%."


def test_endless_repetition() -> None:
    loop = "Drink warm tea. " + "Take rest and see your doctor if it is not better soon. " * 20
    flags = find_flags(QUESTIONS, [loop] * 2 + [loop + loop] * 2 + REFERENCES[4:], REFERENCES, [False] * 4 + [True] * 2)
    assert [flag.kind for flag in flags] == ["repetition", "constant", "long"]
    assert "4 of 4 such answers were cut off" in flags[0].text
    assert "cut off" not in find_flags(QUESTIONS, [loop] * 6, REFERENCES)[0].text
    assert "repetition" in list_kinds(["no " * 40, *REFERENCES[1:]])


def test_copies_of_the_question() -> None:
    assert "copy" in list_kinds(list(QUESTIONS))
    assert "copy" in list_kinds([f"You said: {question.upper()[:60]}" for question in QUESTIONS])
    quoted = [
        f"{question.split('.')[0]}? {reference}" for question, reference in zip(QUESTIONS, REFERENCES, strict=True)
    ]
    assert "copy" not in list_kinds(quoted)
    assert [flag.kind for flag in find_flags(["a rash"] * 2, ["A rash", "b"], ["c c", "d"])] == ["copy"]


@pytest.mark.parametrize(
    "answers",
    [
        ["See a doctor."] * 6,
        [STOCK.format(name) for name in ("Anna", "Ben", "Carl", "Dora", "Emil", "Fay")],
        [STOCK.format("dear")] * 4 + REFERENCES[4:],
        [STOCK.format("dear"), "Take rest and drink a lot of warm tea."] * 3,
    ],
)
def test_the_constant_reply(answers: list[str]) -> None:
    assert "constant" in list_kinds(answers)


def test_equal_answers_to_equal_questions_are_no_constant_reply() -> None:
    questions = [QUESTIONS[0]] * 6 + QUESTIONS[1:]
    answers = [REFERENCES[0]] * 6 + REFERENCES[1:]
    others = [f"{text} {text}" for text in "abcdefghijk"]
    assert "constant" not in [flag.kind for flag in find_flags(questions, answers, others)]


def test_answers_that_are_far_too_short_or_long() -> None:
    assert list_kinds([" ".join(text.split()[:6]) for text in REFERENCES]) == ["short"]
    assert list_kinds([f"{a} {b}" for a, b in zip(REFERENCES, REFERENCES[1:] + REFERENCES[:1], strict=True)]) == [
        "long"
    ]
    assert "short" not in list_kinds([""] * 6)


@given(st.lists(st.tuples(st.text(), st.none() | st.text(), st.text()), max_size=6))
def test_any_text_is_looked_at(rows: list[tuple[str, str | None, str]]) -> None:
    questions, answers, references = ([row[place] for row in rows] for place in range(3))
    for flag in find_flags(questions, answers, references):
        assert 0 < flag.share <= 1
        assert "\n" not in flag.text
    assert find_flags(questions, references, references) == []


def test_the_answers_of_a_weak_model_are_only_empty_and_short() -> None:
    assert list_kinds(list(ANSWERS)) == ["empty", "short"]
