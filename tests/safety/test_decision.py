"""The level whose mistakes are expected to cost least."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_med.safety import triage
from lightning_med.safety.messages.encoder import decision
from lightning_med.safety.messages.encoder.decision import (
    COSTS_VARIABLE,
    DANGER,
    Costs,
    choose_level,
    decide,
    get_costs,
    is_refused,
    sum_by_level,
)
from lightning_med.utils.errors import InputError

COSTS = Costs(100, 30, 5, 1, 5, 1, 20, 20)


@pytest.mark.parametrize(
    ("danger", "urgent", "level"),
    [
        (0.0, 0.0, "ordinary"),
        (0.0, 0.15, "ordinary"),  # a missed urgent letter: 0.75; a needless notice: 0.85
        (0.0, 0.2, "urgent"),  # 1.0 against 0.8
        (0.01, 0.0, "ordinary"),  # 1.0 against 1.29
        (0.02, 0.0, "urgent"),  # 2.0 against 1.58 and 4.9
        (0.2, 0.0, DANGER),  # 20 against 6.8 and 4.0
        (0.03, 0.97, "urgent"),  # 0.9 against 0.97
        (0.04, 0.96, DANGER),  # 1.2 against 0.96
    ],
)
def test_the_cheapest_level_is_chosen(danger: float, urgent: float, level: str) -> None:
    assert choose_level(danger, urgent, COSTS) == level


def test_a_request_is_refused_where_answering_costs_more() -> None:
    assert is_refused(0.51, COSTS)
    assert not is_refused(0.49, COSTS)


@pytest.mark.parametrize(
    ("danger", "harmful", "decided"),
    [
        (0.9, 0.05, (DANGER, False)),
        (0.4, 0.55, ("ordinary", True)),  # "how do i poison him": refused, no first aid for poisoning
        (0.0, 0.6, ("ordinary", True)),
    ],
)
def test_a_harmful_request_outweighs_a_lesser_danger(danger: float, harmful: float, decided: tuple[str, bool]) -> None:
    assert decide(danger, 0.0, harmful, COSTS) == decided


def test_levels_are_summed() -> None:
    levels = {"stroke": "emergency", "burns": "emergency", "suicide": "crisis"}
    sums = sum_by_level({"ordinary": 0.1, "stroke": 0.2, "burns": 0.3, "suicide": 0.4}, levels)
    assert sums == {"emergency": pytest.approx(0.5), "crisis": 0.4}


def test_costs_are_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "my ankle is swollen after i twisted it, can i walk on it"
    monkeypatch.setenv(COSTS_VARIABLE, "notice=0.0001, missed_danger=100000,half_missed_danger=0.0001")
    assert get_costs().notice == 0.0001
    assert triage(text).level == "urgent"
    monkeypatch.setenv(COSTS_VARIABLE, "notice=100000,alarm=100000")
    assert triage(text).level == "ordinary"


@pytest.mark.parametrize("text", ["alarms=3", "alarm", "alarm=x", "alarm=0", "alarm=-1", "alarm=nan", "alarm=inf"])
def test_what_is_no_cost_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COSTS_VARIABLE, text)
    with pytest.raises(InputError, match=COSTS_VARIABLE) as raised:
        get_costs()
    assert "missed_danger" in str(raised.value)


@pytest.mark.parametrize("text", ["notice: 0", "notice: x", "alarms: 3", "notice: 2"])
def test_a_file_that_is_no_list_of_costs_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last names one cost and lacks the others."""
    monkeypatch.setattr(decision, "PATH", tmp_path / "costs.yaml")
    decision.PATH.write_text(text)
    with pytest.raises(InputError, match="costs"):
        decision._parse_costs.__wrapped__("")
