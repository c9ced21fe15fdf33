"""Phrases of the rules, found in messages."""

from __future__ import annotations

import pytest

from lightning_med.safety.messages.phrase_matcher import PhraseMatcher
from lightning_med.safety.messages.word_split import split_words

MATCHER = PhraseMatcher(
    {
        "fever": ["temp|temperature 38..42"],
        "pain": ["crush* chest pain"],
    }
)


def found(text: str) -> list[tuple[str, str]]:
    """The concepts of a text, each with the words that it was found in."""
    message = split_words(text)
    return [
        (one.concept, " ".join(word.text for word in message[one.start : one.end]))
        for one in MATCHER.find_mentions(message)
    ]


@pytest.mark.parametrize(("degrees", "expected"), [("37", []), ("38", ["fever"]), ("42", ["fever"]), ("43", [])])
def test_a_range_is_each_number_in_it(degrees: str, expected: list[str]) -> None:
    assert [concept for concept, _ in found(f"his temp is {degrees}")] == expected


def test_small_words_may_stand_inside_a_phrase() -> None:
    assert found("crushing in my chest the pain") == [("pain", "crushing in my chest the pain")]
    assert found("crushing blow to chest then pain") == []
