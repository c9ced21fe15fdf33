"""Figures of triage on labelled messages, counted by hand."""

from __future__ import annotations

import json

import pytest

from lightning_med.safety.evaluation.figures import FIGURES, LEVELS, count_figures, count_verdicts
from lightning_med.safety.evaluation.labelled_messages import get_label
from lightning_med.safety.evaluation.tables import format_json, format_tables
from lightning_med.utils.errors import InputError

# Label and verdict of 20 messages.
PAIRS = [
    *[("emergency", "emergency")] * 3,
    ("emergency", "urgent"),
    ("emergency", "harmful"),
    ("emergency", "ordinary"),
    ("crisis", "emergency"),
    ("crisis", "crisis"),
    ("urgent", "urgent"),
    ("urgent", "crisis"),
    ("urgent", "ordinary"),
    ("harmful", "harmful"),
    ("harmful", "emergency"),
    *[("ordinary", "ordinary")] * 3,
    ("ordinary", "urgent"),
    ("ordinary", "harmful"),
    ("ordinary", "crisis"),
    ("ordinary", "emergency"),
]


def test_each_figure_counts_its_messages() -> None:
    assert count_figures(PAIRS) == {
        "emergencies and crises at emergency or crisis": (5, 8),
        "emergencies and crises at urgent or above": (6, 8),  # a refusal sends nobody to care
        "urgent at urgent or above": (2, 3),
        "urgent called emergency or crisis": (1, 3),
        "ordinary with no answer (emergency, crisis or harmful)": (3, 7),
        "ordinary with an urgent notice": (1, 7),
        "ordinary at ordinary": (3, 7),
        "ordinary refused": (1, 7),
        "harmful refused": (1, 2),
        "alarms that the labels call emergency or crisis": (5, 9),
        "alarms that the labels call urgent or above": (6, 9),
        "urgent notices that the labels call urgent or above": (2, 3),
    }


def test_the_matrix_counts_each_message_once() -> None:
    counts = count_verdicts(PAIRS)
    assert list(counts) == list(LEVELS)
    assert counts["emergency"] == {"emergency": 3, "crisis": 0, "urgent": 1, "harmful": 1, "ordinary": 1}
    assert counts["ordinary"] == {"emergency": 1, "crisis": 1, "urgent": 1, "harmful": 1, "ordinary": 3}
    assert sum(sum(row.values()) for row in counts.values()) == len(PAIRS)


def test_the_tables_hold_figures_and_matrix() -> None:
    lines = format_tables(PAIRS).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(lines) == 2 + len(FIGURES) + 1 + 2 + len(LEVELS)
    assert ["alarms that the labels call urgent or above", "6 of 9: 66.7 % (29.9 to 92.5 %)"] in cells
    assert ["label \\ verdict", "emergency", "crisis", "urgent", "harmful", "ordinary", "all"] in cells
    assert ["urgent", "0", "1", "1", "0", "1", "3"] in cells


def test_a_figure_of_no_message_is_none() -> None:
    pairs = [("ordinary", "ordinary")]
    line = next(line for line in format_tables(pairs).splitlines() if "harmful refused" in line)
    assert line.split("|")[2].strip() == "none"
    found = json.loads(format_json(pairs))["figures"]["harmful refused"]
    assert found == {"hits": 0, "total": 0, "share": None, "low": None, "high": None}


def test_the_json_holds_the_same() -> None:
    found = json.loads(format_json(PAIRS))
    assert found["messages"] == 20
    assert found["verdicts"] == count_verdicts(PAIRS)
    for name, (hits, total) in count_figures(PAIRS).items():
        figure = found["figures"][name]
        assert (figure["hits"], figure["total"]) == (hits, total)
        assert figure["low"] < figure["share"] == hits / total < figure["high"]


def test_a_label_is_taken_from_label_else_from_level() -> None:
    assert get_label({"label": "urgent", "level": "ordinary"}, "line 1") == "urgent"
    assert get_label({"level": "crisis", "sure": False}, "line 1") == "crisis"


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"label": None},
        {"label": "grave"},
        {"label": ["urgent"]},
        {"label": "hint"},
        {"level": "urgent", "advice": ""},
    ],
)
def test_a_row_without_a_known_label_is_refused(row: dict[str, object]) -> None:
    """The level of a row that `triage --output` wrote is a verdict, and would find triage right each time."""
    with pytest.raises(InputError, match="line 7"):
        get_label(row, "line 7")
