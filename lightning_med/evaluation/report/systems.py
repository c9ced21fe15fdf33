"""Models and baselines of an evaluation, in one order, with titles and colours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from lightning_med.evaluation.baselines.names import TITLES
from lightning_med.evaluation.metric_list import GUARDED, SAMPLED, Metric, find_metric
from lightning_med.utils.page.number_format import NONE

Metrics = dict[str, Any]  # the content of metrics.json; floats may be null
LIMITS = (
    "Intervals and tests are over rows, that is over questions. Another seed, another order of training or another "
    "split would give another model, and its spread is not in them.",
    "Overlap with one doctor's answer is not correctness: a right answer in other words scores low, a wrong one in "
    "familiar words high.",
    "Likelihood says how expected the doctors' own words are, not what the model writes.",
    "Indicators of manner and safety are found by rules. They are not understanding, and they miss and mistake some.",
    "No clinician has judged these answers.",
)
_TONES = 6  # colours of models; see evaluation.css


@dataclass(frozen=True)
class System:
    """A model or a baseline.

    Attributes:
        name: Its key in `metrics.json`.
        title: As it is shown; untrusted.
        tone: Class of its marks: `s1` to `s6`, baselines `b`.
    """

    name: str
    title: str
    tone: str


def list_systems(metrics: Metrics) -> list[System]:
    """Returns the models as given, then the baselines."""
    models = [System(name, name, f"s{number % _TONES + 1}") for number, name in enumerate(metrics.get("models") or {})]
    baselines = metrics.get("baselines") or {}
    known = [name for name in TITLES if name in baselines]
    others = [name for name in baselines if name not in TITLES]
    return models + [System(name, find_title(metrics, name), "b") for name in known + others]


def get_values(metrics: Metrics, name: str) -> dict[str, dict[str, Any]]:
    """Returns the metrics of a model or baseline."""
    return (metrics.get("models") or {}).get(name) or (metrics.get("baselines") or {}).get(name) or {}


def find_title(metrics: Metrics, name: str) -> str:
    """Returns the title of a model or baseline."""
    return TITLES.get(name, name) if name in (metrics.get("baselines") or {}) else name


def describe_metric(name: str) -> tuple[Metric, str] | None:
    """Returns a metric and its title, with a word for sampled answers; `None` if this version does not know it."""
    try:
        metric = find_metric(name)
    except KeyError:
        return None
    return metric, metric.title + (", sampled" if name.startswith(SAMPLED) else "")


def order_metrics(names: list[str]) -> list[str]:
    """Puts the metrics on guarded answers beside those on raw ones."""
    ordered: list[str] = []
    for name in names:
        prefix = SAMPLED if name.startswith(SAMPLED) else ""
        raw = prefix + name.removeprefix(prefix).removeprefix(GUARDED)
        place = ordered.index(raw) + 1 if raw != name and raw in ordered else len(ordered)
        ordered.insert(place, name)
    return ordered


def list_origin(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns where a model comes from, as far as it is known: data, base, checkpoint, export.

    Args:
        known: As in an entry of `about` of `metrics.json`.
    """
    steps = [
        ("Data", known.get("data_fingerprint")),
        ("Base", known.get("base")),
        ("Checkpoint", " ".join(str(known[key]) for key in ("checkpoint", "checkpoint_digest") if known.get(key))),
        ("Export", known.get("digest")),
    ]
    return [(title, str(value)) for title, value in steps if value]


def is_number(value: Any) -> TypeGuard[float]:
    """Returns whether a value of `metrics.json` is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def format_value(value: Any, form: str) -> str:
    """Formats a value by the form of its metric; a dash where there is none."""
    return format(value, form) if is_number(value) else NONE


def format_interval(entry: dict[str, Any], form: str) -> str:
    """Formats an interval, empty where there is none."""
    low, high = entry.get("low"), entry.get("high")
    return f"{format(low, form)} to {format(high, form)}" if is_number(low) and is_number(high) else ""
