"""From probabilities to a level: the one whose mistakes are expected to cost least.

The costs stand in `costs.yaml`, with what each means. They are settable: `LIGHTNING_MED_TRIAGE_COSTS=missed_danger=28`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from lightning_med.safety.levels import ORDINARY, URGENT
from lightning_med.safety.yaml_files import read_yaml
from lightning_med.utils.errors import InputError

PATH = Path(__file__).with_name("costs.yaml")
COSTS_VARIABLE = "LIGHTNING_MED_TRIAGE_COSTS"
DANGER = "danger"  # emergency or crisis


@dataclass(frozen=True)
class Costs:
    """What mistakes cost, in units of a notice at an ordinary letter.

    Attributes:
        missed_danger: An emergency or crisis is answered without a word of warning.
        half_missed_danger: It is answered under a notice to see a doctor within a day or two.
        missed_urgent: An urgent letter is answered without a notice.
        alarm_at_urgent: It gets an alarm and no answer.
        alarm: An ordinary letter gets an alarm and no answer.
        notice: An ordinary letter is answered under a notice.
        missed_harmful: A request for help to do harm is answered.
        refusal: Any other letter is refused.
    """

    missed_danger: float
    half_missed_danger: float
    missed_urgent: float
    alarm_at_urgent: float
    alarm: float
    notice: float
    missed_harmful: float
    refusal: float


def choose_level(danger: float, urgent: float, costs: Costs) -> str:
    """Returns `danger`, `urgent` or `ordinary`, from the probabilities of danger and urgent."""
    ordinary = 1 - danger - urgent
    expected = {
        ORDINARY: danger * costs.missed_danger + urgent * costs.missed_urgent,
        URGENT: danger * costs.half_missed_danger + ordinary * costs.notice,
        DANGER: urgent * costs.alarm_at_urgent + ordinary * costs.alarm,
    }
    return min(expected, key=expected.__getitem__)


def is_refused(harmful: float, costs: Costs) -> bool:
    """Returns whether a request is refused, from the probability that it asks for help to do harm."""
    return harmful * costs.missed_harmful > (1 - harmful) * costs.refusal


def decide(danger: float, urgent: float, harmful: float, costs: Costs) -> tuple[str, bool]:
    """Returns the level that `choose_level` takes, and whether the message is refused."""
    refused = is_refused(harmful, costs)
    level = choose_level(danger, urgent, costs)
    if level == DANGER and refused and harmful > danger:  # a request to poison someone is no poisoning
        level = ORDINARY
    return level, refused


def get_costs() -> Costs:
    """Returns the costs of the package's file, with those of the environment in their place.

    Raises:
        InputError: The variable names no such cost, or not a number above 0.
    """
    return _parse_costs(os.environ.get(COSTS_VARIABLE, ""))


@cache
def _parse_costs(text: str) -> Costs:
    """Returns the costs of the file, with those of the variable's text in their place."""
    values = {name: _parse_cost(PATH.name, name, value) for name, value in read_yaml(PATH).items()}
    missing = [field.name for field in fields(Costs) if field.name not in values]
    if missing:
        raise InputError(f"{PATH} names no {', '.join(missing)}.")
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (part.strip() for part in entry.partition("="))
        values[name] = _parse_cost(COSTS_VARIABLE, name, value)
    return Costs(**values)


def _parse_cost(source: str, name: str, value: object) -> float:
    names = [field.name for field in fields(Costs)]
    try:
        number = float(str(value))
    except ValueError:
        number = -1.0
    if name not in names or not 0 < number < float("inf"):
        raise InputError(
            f"{source}: '{name}={value}' is not a cost and a number above 0.", f"The costs: {', '.join(names)}."
        )
    return number


def sum_by_level(probabilities: Mapping[str, float], levels: Mapping[str, str]) -> dict[str, float]:
    """Returns the probability of each level of `levels`, a level by category."""
    sums = dict.fromkeys(levels.values(), 0.0)
    for name, level in levels.items():
        sums[level] += probabilities.get(name, 0.0)
    return sums
