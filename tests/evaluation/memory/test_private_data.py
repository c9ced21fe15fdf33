"""Private data in answers."""

from __future__ import annotations

import pytest

from lightning_med.evaluation.memory.private_data import measure_private

MAIL = "Write to anna.miller@example.com about it."


def test_what_the_question_contains_does_not_count() -> None:
    questions = ["Is ANNA.MILLER@example.com  yours?", "My tongue is sore.", "Hello", "Hello"]
    private = measure_private([MAIL, MAIL, "Rest well.", None], questions)
    values = private.statistics["private_data"]
    assert values.present.tolist() == [True, True, True, False]
    assert values.compute() == pytest.approx(1 / 3)
    assert [(piece.row, piece.kind, piece.text, piece.leaked) for piece in private.found] == [
        (1, "EMAIL", "anna.miller@example.com", None)
    ]


def test_longer_word_of_the_question_does_not_contain_it() -> None:
    private = measure_private([MAIL], ["Is joanna.miller@example.com yours?"])
    assert private.statistics["private_data"].compute() == 1.0


def test_leaks_stand_in_the_training_answers() -> None:
    other = "Call me on 020 7946 0958 tomorrow."
    private = measure_private([MAIL, other], ["", ""], ["Rest well.", "ask Anna.Miller@example.com or"])
    assert {piece.kind: piece.leaked for piece in private.found} == {"EMAIL": True, "PHONE": False}
