"""Form of answers: each value against its definition, and those without a row against a fresh computation."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.evaluation.metric_list import METRICS
from lightning_med.evaluation.text.form import measure_form
from lightning_med.evaluation.text.words import list_sequences, measure_repetition, split_words
from tests.evaluation.text.texts import ANSWERS, REFERENCES

TEXTS = st.lists(st.one_of(st.text(max_size=20), st.text("ab ", max_size=20)), min_size=1, max_size=6)


def test_repetition_is_the_share_of_sequences_that_were_there_before() -> None:
    assert measure_repetition(split_words("Rest, and drink warm tea.")) == 0
    assert measure_repetition(split_words("rest and drink tea. Rest and DRINK tea!")) == pytest.approx(1 / 5)
    assert measure_repetition(["a"] * 13) == pytest.approx(0.9)
    assert measure_repetition(["too", "short"]) == 0


def test_words_keep_their_apostrophes_and_lose_their_case() -> None:
    assert split_words("Don't take 2.5 mg—it’s late!") == ["don't", "take", "2", "5", "mg", "it’s", "late"]


def test_values_by_hand() -> None:
    answers = ["Rest, rest and drink.", "Drink tea and rest and drink tea.", ""]
    found = measure_form(answers, ["a b c", "d e", "f g h"], [True, False, True])
    values = {name: statistic.compute() for name, statistic in found.items()}
    assert set(values) == {name for name, metric in METRICS.items() if metric.section == "form"}
    assert values["words"] == pytest.approx(11 / 3)
    assert values["length_ratio"] == pytest.approx(11 / 8)
    assert values["distinct1"] == pytest.approx(4 / 11)
    assert values["distinct2"] == pytest.approx(6 / 9)  # rest rest, rest and, and drink | drink tea, tea and, and rest
    assert values["entropy4"] == pytest.approx(math.log(5))  # five different ones
    assert values["repeated_4grams"] == 0
    assert values["ended"] == pytest.approx(2 / 3)


def compute_variety(texts: list[str], length: int) -> tuple[float, float]:
    """Returns the share of different sequences and the entropy of them, as their papers write them."""
    counts = Counter(sequence for text in texts for sequence in list_sequences(split_words(text), length))
    total = sum(counts.values())
    shares = [count / total for count in counts.values()]
    return (len(counts) / total if total else 0.0), -sum(share * math.log(share) for share in shares)


@given(TEXTS)
def test_variety_with_and_without_each_row(texts: list[str]) -> None:
    found = measure_form(texts, texts)
    for name, length, which in (("distinct1", 1, 0), ("distinct2", 2, 0), ("entropy4", 4, 1)):
        value = compute_variety(texts, length)[which]
        assert found[name].compute() == pytest.approx(value, abs=1e-9)
        without = [compute_variety(texts[:row] + texts[row + 1 :], length)[which] for row in range(len(texts))]
        influence = [(len(texts) - 1) * (value - other) for other in without]
        expected = [value + one - float(np.mean(influence)) for one in influence]
        assert found[name].columns[:, 0].tolist() == pytest.approx(expected, abs=1e-9)


def test_rows_without_a_value_and_without_a_known_end() -> None:
    some = [*ANSWERS[:4], None, ANSWERS[5]]
    found = measure_form(some, REFERENCES, [True, False, True, None, True, False])
    fewer = measure_form([*ANSWERS[:4], ANSWERS[5]], [*REFERENCES[:4], REFERENCES[5]])
    assert found.pop("ended").compute() == pytest.approx(2 / 4)
    for name, statistic in found.items():
        assert statistic.present.tolist() == [True] * 4 + [False, True]
        assert statistic.compute() == pytest.approx(fewer[name].compute()), name
    assert "ended" not in fewer
    assert all(np.isnan(statistic.compute()) for statistic in measure_form([None] * 6, REFERENCES).values())
