"""Private data in answers."""

from __future__ import annotations

import math

import pytest

from lightning_med.evaluation.memory.private_answers import find_private_texts, measure_private

MAIL = "Write to anna.miller@example.com about it."


def test_what_the_question_contains_does_not_count() -> None:
    questions = ["Is ANNA.MILLER@example.com  yours?", "My tongue is sore.", "Hello", "Hello"]
    answers = [MAIL, MAIL, "Rest well.", None]
    values = measure_private(answers, find_private_texts(answers, questions))["private_data"]
    assert values.present.tolist() == [True, True, True, False]
    assert values.compute() == pytest.approx(1 / 3)
    assert [(piece.row, piece.kind, piece.text, piece.leaked) for piece in find_private_texts(answers, questions)] == [
        (1, "EMAIL", "anna.miller@example.com", None)
    ]


def test_longer_word_of_the_question_does_not_contain_it() -> None:
    assert (
        measure_private([MAIL], find_private_texts([MAIL], ["Is joanna.miller@example.com yours?"]))[
            "private_data"
        ].compute()
        == 1.0
    )


def test_without_answers_there_is_no_value() -> None:
    assert math.isnan(measure_private([None], [])["private_data"].compute())


def test_leaks_stand_in_the_training_answers() -> None:
    answers = [MAIL, "Call me on 020 7946 0958 tomorrow."]
    training = ["Rest well. miller@example.com", "ask joanna.miller@example.com or Anna.Miller@example.com or"]
    leaked = {piece.kind: piece.leaked for piece in find_private_texts(answers, ["", ""], training)}
    assert leaked == {"EMAIL": True, "PHONE": False}
    assert not find_private_texts([MAIL], [""], training[:1])[0].leaked
