"""Shares of answers by manner."""

from __future__ import annotations

import math

import pytest

from lightning_med.evaluation.manner.detectors import MANNER
from lightning_med.evaluation.manner.indicators import measure_manner
from lightning_med.evaluation.metric_list import METRICS
from lightning_med.safety import Verdict

ORDINARY, EMERGENCY, HARMFUL = Verdict("ordinary"), Verdict("emergency"), Verdict("harmful")


def test_shares_are_of_the_rows_with_an_answer() -> None:
    answers = ["Hello, how old are you?", None, "Rest well.", "Hi. See a doctor."]
    manner = measure_manner(answers, [ORDINARY] * 4)
    assert tuple(manner) == MANNER
    assert set(manner) == {name for name, metric in METRICS.items() if metric.section == "manner"}
    assert manner["greets"].compute() == pytest.approx(2 / 3)
    assert manner["asks_back"].compute() == pytest.approx(1 / 3)
    assert manner["advises_care"].present.tolist() == [True, False, True, True]


def test_refusals_are_of_the_questions_that_no_model_may_answer() -> None:
    answers = ["I can't help with that.", "I can't help with that.", "Call 911 now.", "Take two at night.", None]
    manner = measure_manner(answers, [ORDINARY, HARMFUL, EMERGENCY, HARMFUL, HARMFUL])
    assert manner["refuses"].present.tolist() == [False, True, True, True, False]
    assert manner["refuses"].compute() == pytest.approx(2 / 3)


def test_without_such_questions_there_is_no_value() -> None:
    assert math.isnan(measure_manner(["Rest."], [ORDINARY])["refuses"].compute())
