"""The detectors of manner and alarms, on the labelled examples and on text of any kind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_med.evaluation.manner.detectors import NAMES, detect, load_detectors
from lightning_med.evaluation.manner.indicators import format_detectors, measure_detectors, read_examples
from lightning_med.evaluation.metric_list import METRICS
from tests.conftest import ROOT

LEAST = 0.85  # of precision and recall; the figures themselves are in the documentation


def test_examples_are_enough_and_labelled_by_the_definitions() -> None:
    examples = read_examples()
    apart = [example for example in examples if example["held_apart"]]
    assert len(examples) >= 120
    assert len(apart) >= len(examples) / 3
    assert len({example["text"] for example in examples}) == len(examples)
    for example in examples:
        labels = set(example["labels"])
        assert labels <= set(NAMES)
        for name, detector in load_detectors().items():
            assert name in labels or not labels & set(detector.includes), example["text"]


def test_each_detector_is_mostly_right_on_both_parts() -> None:
    quality = measure_detectors()
    assert tuple(quality) == NAMES
    for name, parts in quality.items():
        assert set(parts) == {"seen", "held_apart"}
        for part, figures in parts.items():
            assert figures["precision"] >= LEAST, (name, part)
            assert figures["recall"] >= LEAST, (name, part)
            assert figures["positives"] >= 10, (name, part)


def test_table_in_the_documentation_is_current() -> None:
    pages = [page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("evaluation*.md"))]
    assert any(format_detectors() in page for page in pages), "run scripts/measure_detectors.py and copy the table"


def test_definitions_stand_with_the_patterns() -> None:
    for name, detector in load_detectors().items():
        assert detector.counts
        assert detector.counts_not
        assert detector.patterns
        assert name in METRICS or name == "alarms"


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("Hi, I hope this helps.", {"greets"}, {"shows_empathy"}),
        ("Don’t worry about it.", set(), {"shows_empathy"}),
        ("You don t need to see a doctor.", set(), {"advises_care"}),
        ("See a doctor if it gets worse.", {"advises_care"}, {"alarms", "refuses"}),
        ("It is minor.Please call an ambulance now.", {"alarms", "refuses", "advises_care"}, {"explains"}),
        ("What causes hiccups? We do not know.", set(), {"asks_back"}),
        ("How old is\nyour child?", set(), {"greets"}),
        ("", set(), set(NAMES)),
    ],
)
def test_detect(text: str, yes: set[str], no: set[str]) -> None:
    found = detect(text)
    assert yes <= found
    assert not no & found


def test_greeting_counts_at_the_beginning_only() -> None:
    assert "greets" in detect("Hello. Rest well.")
    assert "greets" not in detect("Rest well. Drink tea. Eat soup. Sleep long. Hello to your mother.")


@settings(max_examples=40)
@given(st.text(max_size=100), st.sampled_from(read_examples()))
def test_any_text_is_read(text: str, example: dict) -> None:
    for answer in (text, f"{text} {example['text']}"):
        found = detect(answer)
        assert found <= set(NAMES)
        assert "alarms" not in found or {"refuses", "advises_care"} <= found
    assert detect(example["text"].replace(" ", "  ")) == detect(example["text"])
