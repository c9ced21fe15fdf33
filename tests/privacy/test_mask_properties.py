"""Properties of masking: on random texts, and on random values in a sentence."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_med.privacy.mask import KINDS, find_private, mask
from tests.privacy.examples import FREE, HELD, suspected

PIECES = (
    [text for text, *_ in HELD]
    + FREE
    + [
        "\n",
        ". ",
        ", ",
        " - ",
        "Dear ",
        "regards ",
        "Hi ",
        "call ",
        "12 ",
        "é",
        "Ĳ",
        "İ",
        "\x00",
        "\u2003",
        "\xa0",
        "[",
    ]
)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=6).map(" ".join) | st.lists(
    st.sampled_from(PIECES), max_size=5
).map("".join)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.booleans())
def test_masking_twice_changes_nothing(text: str, answer: bool) -> None:
    once, _ = mask(text, answer)
    assert mask(once, answer) == (once, Counter())


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_finds_are_in_order_and_apart(text: str) -> None:
    end = 0
    for one in find_private(text):
        assert end <= one.start < one.end <= len(text)
        assert one.kind in KINDS
        end = one.end


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_the_filter_passes_on_all_that_is_found(text: str) -> None:
    assert suspected(text) or find_private(text) == []


WORDS = st.lists(
    st.sampled_from(["the", "pain", "began", "after", "we", "gave", "him", "food", "and", "then", "rest", "daily"]),
    min_size=1,
    max_size=6,
)
NUMBERS = st.integers(0, 99_999)
VALUES = st.one_of(
    st.builds("{} mg".format, NUMBERS),
    st.builds("{}/{} mmHg".format, NUMBERS, NUMBERS),
    st.builds("{} years".format, NUMBERS),
    st.builds("{}-{} IU".format, NUMBERS, NUMBERS),
    st.builds("{}-{} /cmm".format, st.integers(1000, 999_999), st.integers(1000, 999_999)),
    st.builds("{:02}/{:02}/{}".format, st.integers(1, 31), st.integers(1, 12), st.integers(1950, 2030)),
    st.builds("{:02}-{:02}-{}".format, st.integers(1, 31), st.integers(1, 12), st.integers(1950, 2030)),
    st.lists(st.integers(10, 400), min_size=4, max_size=8).map(lambda values: " ".join(map(str, values))),
    st.builds("{:.2f}".format, st.floats(0, 1e6)),
)


@settings(max_examples=500, deadline=None)
@given(WORDS, VALUES, WORDS)
def test_values_in_a_sentence_are_untouched(before: list[str], value: str, after: list[str]) -> None:
    text = " ".join([*before, value, *after])
    assert find_private(text) == []
