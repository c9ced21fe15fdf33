"""The words that are quoted as the reason of a verdict."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.safety.messages.encoder.evidence import find_reason


def weigh(text: str, heavy: dict[str, float], other: float = -0.1) -> tuple[str, np.ndarray, np.ndarray]:
    """Each word as a token, with its weight."""
    words = list(re.finditer(r"\S+", text))
    spans = np.array([word.span() for word in words], dtype=np.int64).reshape(-1, 2)
    return text, spans, np.array([heavy.get(word[0], other) for word in words])


def test_the_words_with_the_most_weight_are_quoted() -> None:
    text = "hello doctor ! i have a very swollen left leg since monday . thank you"
    assert find_reason(*weigh(text, {"swollen": 2.0, "left": 0.1, "leg": 1.0})) == "swollen left leg"


def test_small_words_stand_at_no_edge() -> None:
    assert find_reason(*weigh("and the blood in my urine is", {"the": 1.0, "blood": 1.0, "urine": 1.0, "is": 1.0})) == (
        "blood in my urine"
    )


def test_a_quotation_stays_in_a_sentence_and_is_short() -> None:
    words = [f"word{i}" for i in range(40)]
    found = find_reason(*weigh(" ".join(words), dict.fromkeys(words, 1.0), 1.0))
    assert len(found.split()) == 12
    assert find_reason(*weigh("red hot . swollen leg", {"hot": 1.0, "swollen": 1.5, "leg": 1.0})) == "swollen leg"


def test_where_no_words_stand_out_nothing_is_quoted() -> None:
    assert find_reason(*weigh("i am well today", {})) == ""
    scattered = ". ".join(f"thing{i} number{i}" for i in range(30))
    assert find_reason(*weigh(scattered, {}, 0.1)) == ""


@given(st.text(alphabet="ab .,;!?\n’x1", max_size=80), st.integers(0, 2**32 - 1))
def test_a_quotation_is_always_a_part_of_the_text(text: str, seed: int) -> None:
    text, spans, weights = weigh(text, {})
    weights = np.random.default_rng(seed).normal(size=len(weights))
    assert find_reason(text, spans, weights) in text
