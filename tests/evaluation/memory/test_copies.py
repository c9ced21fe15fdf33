"""Verbatim copies of training answers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.evaluation.memory.copies import LONG_COPY, SHOWN, find_copies
from lightning_med.evaluation.memory.words import split_words

TEXTS = st.lists(st.text("abc .", max_size=25).map(lambda text: " ".join(text)), max_size=6)


def find_longest(answer: str, training: list[str]) -> int:
    """The same by trying out all runs of words."""
    words = split_words(answer)
    learned = [f" {' '.join(split_words(text))} " for text in training]
    runs = [words[first:last] for first in range(len(words)) for last in range(first + 1, len(words) + 1)]
    return max((len(run) for run in runs if any(f" {' '.join(run)} " in text for text in learned)), default=0)


@given(TEXTS, TEXTS)
def test_lengths_are_those_of_all_runs_tried_out(answers: list[str], training: list[str]) -> None:
    copies = find_copies(answers, training)
    lengths = copies.statistics["copied_tokens"].columns[:, 0].tolist()
    assert lengths == [find_longest(answer, training) for answer in answers]
    assert sorted(copy.words for copy in copies.longest) == sorted(length for length in lengths if length)
    for copy in copies.longest:
        assert copy.words == len(copy.text.split()) == lengths[copy.row]
        assert f" {copy.text} " in f" {' '.join(split_words(answers[copy.row]))} "
        having = [row for row, text in enumerate(training) if find_longest(copy.text, [text]) == copy.words]
        assert copy.training_row == having[0]


def test_case_and_punctuation_make_no_difference() -> None:
    training = ["Something else.", "Rest WELL, and drink: tea!", "Rest well, and drink: tea!"]
    copies = find_copies(["Then rest well and drink tea - often", None, ""], training)
    values = copies.statistics["copied_tokens"]
    assert values.columns[:, 0].tolist()[::2] == [5.0, 0.0]
    assert values.present.tolist() == [True, False, True]
    assert [(copy.row, copy.training_row, copy.text) for copy in copies.longest] == [(0, 1, "rest well and drink tea")]


def test_copies_do_not_reach_from_one_text_into_the_next() -> None:
    copies = find_copies(["one two three four", "five"], ["zero one two", "three four five"])
    assert [copy.words for copy in copies.longest] == [2, 1]


def test_share_of_long_copies_begins_at_its_limit() -> None:
    words = [f"w{number}" for number in range(LONG_COPY)]
    copies = find_copies([" ".join(words), " ".join(words[1:]), None], [" ".join(["x", *words, "y"])])
    assert copies.statistics["copied_share"].compute() == 0.5
    assert copies.statistics["copied_tokens"].compute() == LONG_COPY - 0.5


def test_without_training_answers_nothing_is_copied() -> None:
    assert find_copies(["one two"], []).statistics["copied_tokens"].compute() == 0.0
    assert math.isnan(find_copies([None], ["one"]).statistics["copied_share"].compute())


def test_training_answers_are_looked_up_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_med.evaluation.memory.copies._CHUNK", 3)
    monkeypatch.setattr("lightning_med.evaluation.memory.copies._TEXTS", 2)
    training = ["a b c", "c d e f g", "f g h i j k", "k l"]
    copies = find_copies(["x f g h i j y", "a b"], training)
    assert [(copy.words, copy.training_row) for copy in copies.longest] == [(5, 2), (2, 0)]


def test_only_the_longest_copies_are_shown() -> None:
    answers = [" ".join(["a"] * (number % 7 + 1)) for number in range(SHOWN + 5)]
    copies = find_copies(answers, ["a a a a a a a"])
    assert len(copies.longest) == SHOWN
    assert [copy.words for copy in copies.longest] == sorted(map(len, map(str.split, answers)), reverse=True)[:SHOWN]
