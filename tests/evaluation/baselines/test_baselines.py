"""Baselines: the constant reply, the nearest training answer, another doctor's answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_med.evaluation.baselines.baseline_answers import make_baselines
from lightning_med.evaluation.baselines.constant import find_central_answer
from lightning_med.evaluation.baselines.human import pair_answers
from lightning_med.evaluation.baselines.retrieval import find_nearest, find_nearest_vectors

ANSWERS = [
    "Rest and drink water.",
    "Hello, please rest, drink water and see a doctor.",
    "Please see a doctor and rest.",
    "Xylophones are instruments.",
]


def test_central_answer_has_greatest_mean_similarity() -> None:
    own = [_split(answer) for answer in ANSWERS]
    vocabulary = sorted({word for words in own for word in words})
    frequency = {word: sum(word in words for words in own) for word in vocabulary}
    weights = {word: np.log((1 + len(own)) / (1 + count)) + 1 for word, count in frequency.items()}
    vectors = np.array([[weights[word] * (word in words) for word in vocabulary] for words in own])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert find_central_answer(ANSWERS) == int((unit @ unit.T).mean(1).argmax()) == 1


def _split(text: str) -> list[str]:
    return text.lower().replace(",", "").replace(".", "").split()


def test_central_answer_takes_first_of_equal_ones_and_survives_texts_without_words() -> None:
    assert find_central_answer(["a b", "a b", "c"]) == 0
    assert find_central_answer(["...", "!!"]) == 0


def test_nearest_finds_same_question_among_others() -> None:
    training = ["My knee hurts when I run.", "My tongue is sore and red.", "I have a cough at night."]
    assert find_nearest(["I cough at night", "sore tongue", "knee pain when running"], training).tolist() == [2, 1, 0]


def test_nearest_takes_first_of_equal_ones_and_answers_a_question_without_known_words() -> None:
    assert find_nearest(["same words"], ["other", "same words", "same words"]).tolist() == [1]
    assert find_nearest(["unknown"], ["other", "words"]).tolist() == [0]
    assert find_nearest(["a"], ["..."]).tolist() == [0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=5), st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_nearest_is_always_a_place_in_training(questions: list[str], training: list[str]) -> None:
    found = find_nearest(questions, training)
    assert found.shape == (len(questions),)
    assert ((found >= 0) & (found < len(training))).all()


def test_nearest_vectors_are_those_of_greatest_cosine() -> None:
    training = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], np.float32)
    assert find_nearest_vectors(np.array([[0.5, 0.86], [1.0, 0.1]], np.float32), training).tolist() == [2, 0]


def test_another_answer_is_of_the_same_question_and_differs() -> None:
    answers = ["Rest.", "rest, ", "Walk.", "Alone."]
    questions = ["Sore tongue?", "sore  tongue", "Sore tongue!", "Sore tongue and cough?"]
    assert pair_answers(questions, answers) == ["Walk.", "Walk.", "Rest.", None]


def test_nearly_the_same_words_are_no_second_answer() -> None:
    answer = "Please rest, drink water often, and see a doctor if it stays."
    assert pair_answers(["Why?", "Why?"], [answer, f"{answer} Thanks."]) == [None, None]


class Encoder:
    """Vectors that say how often a text has the letter a."""

    def embed(self, texts: Sequence[str], progress: object) -> np.ndarray:
        angle = np.array([text.count("a") for text in texts], np.float32)
        return np.stack([np.cos(angle), np.sin(angle)], 1)


def test_all_baselines_are_made_where_the_data_allow() -> None:
    training = (["sore tongue", "cough aa"], ["Rest.", "Drink water and rest."])
    made = make_baselines(
        ["my tongue aa", "My tongue, aa?"], ["Rest.", "See a doctor."], training, Encoder(), lambda *_: None
    )
    assert made.answers["constant"] == ["Rest."] * 2
    assert made.answers["retrieval"][0] == "Rest."
    assert made.answers["retrieval_encoder"] == ["Drink water and rest."] * 2
    assert made.answers["human"] == ["See a doctor.", "Rest."]
    assert made.about["constant"] == {"text": "Rest.", "of": 2}
    assert not made.left_out


def test_missing_baselines_are_named_with_the_way_to_have_them() -> None:
    made = make_baselines(["q"], ["a"], None, None, lambda *_: None)
    assert not made.answers
    assert made.left_out == []  # whoever reads the training rows says why there are none
    made = make_baselines(["q"], ["a"], ([], []), None, lambda *_: None)
    assert made.left_out == [
        "Constant reply, nearest training answer: all training rows nearly equal rows that are measured."
    ]
    made = make_baselines(["q"], ["a"], (["q"], ["a"]), None, lambda *_: None)
    assert set(made.answers) == {"constant", "retrieval"}
    assert made.left_out == ["Nearest training answer by meaning: it needs an encoder, --encoder DIR."]
