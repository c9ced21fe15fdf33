"""Tables of metrics by section: a row for each metric, a column for each system, and charts of the intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_med.evaluation.metric_list import GUARDED, HIGHER, LOWER, METRICS, SAMPLED, SECTIONS, Metric
from lightning_med.evaluation.report.systems import (
    Metrics,
    System,
    format_interval,
    format_value,
    get_values,
    is_number,
    order_metrics,
)
from lightning_med.utils.page.number_format import format_number

LANE, CHART_WIDTH, _MARGIN = 11, 150, 6  # height of a line of a chart, width of a chart, space at its sides
_DIRECTIONS = {HIGHER: "Higher is better.", LOWER: "Lower is better."}


@dataclass(frozen=True)
class Mark:
    """A value with its interval in a chart, in SVG units."""

    tone: str
    x: float
    low: float
    high: float
    y: float


@dataclass(frozen=True)
class Row:
    """A metric of all systems.

    Attributes:
        name: Without the prefix of sampled answers.
        title: A few words.
        note: Its direction and meaning, and the rows that have it if not all do.
        is_guarded: It stands under the same metric on raw answers.
        cells: Value and interval by system, as text.
        marks: The same as a chart, a line for each system.
        count: Rows that have it, in words; empty if all do.
    """

    name: str
    title: str
    note: str
    is_guarded: bool
    cells: list[tuple[str, str]]
    marks: list[Mark]
    count: str = ""


@dataclass(frozen=True)
class Table:
    """The metrics of a section; systems without any of them are left out."""

    title: str
    systems: list[System]
    rows: list[Row]

    @property
    def chart_height(self) -> int:
        """Of each row, in SVG units."""
        return LANE * len(self.systems)


def build_tables(metrics: Metrics, systems: list[System], prefix: str = "") -> list[Table]:
    """Returns the tables of all sections that have a metric.

    Args:
        metrics: As in `metrics.json`.
        systems: To show.
        prefix: `SAMPLED` for the metrics on sampled answers.
    """
    tables = []
    values = {system.name: get_values(metrics, system.name) for system in systems}
    # A metric of baselines alone says nothing of a model.
    models = [name for name in metrics.get("models") or values if name in values]
    for section, title in SECTIONS.items():
        names = order_metrics([name for name, metric in METRICS.items() if metric.section == section])
        names = [name for name in names if any(values[model].get(prefix + name) for model in models)]
        shown = [system for system in systems if any(values[system.name].get(prefix + name) for name in names)]
        rows = [
            _build_row(name, shown, [values[system.name].get(prefix + name) or {} for system in shown], metrics)
            for name in names
        ]
        if rows:
            tables.append(Table(title, shown, rows))
    return tables


def has_sampled(metrics: Metrics, systems: list[System]) -> bool:
    """Returns whether there are metrics on sampled answers."""
    return any(name.startswith(SAMPLED) for system in systems for name in get_values(metrics, system.name))


def _build_row(name: str, systems: list[System], entries: list[dict[str, Any]], metrics: Metrics) -> Row:
    metric, is_guarded = METRICS[name], name.startswith(GUARDED) and name.removeprefix(GUARDED) in METRICS
    cells = [(format_value(entry.get("value"), metric.form), format_interval(entry, metric.form)) for entry in entries]
    note = "The same after the guard." if is_guarded else _describe(metric)
    count = _describe_rows(entries, (metrics.get("data") or {}).get("rows"))
    note = f"{note} On {count}." if count else note
    return Row(name, metric.title, note, is_guarded, cells, _place_marks(systems, entries), count)


def _describe(metric: Metric) -> str:
    return f"{_DIRECTIONS.get(metric.better, '')} {metric.meaning}".strip()


def _describe_rows(entries: list[dict[str, Any]], everything: Any) -> str:
    counts = sorted({entry["rows"] for entry in entries if is_number(entry.get("rows"))})
    if not counts or counts == [everything]:
        return ""
    ends = dict.fromkeys((format_number(counts[0]), format_number(counts[-1])))
    return f"{' to '.join(ends)} row{'s' * (counts[-1] != 1)}"


def _place_marks(systems: list[System], entries: list[dict[str, Any]]) -> list[Mark]:
    """Returns the marks on one axis from the least low to the greatest high end."""
    ends = [entry.get(key) for entry in entries for key in ("value", "low", "high")]
    numbers = [end for end in ends if is_number(end)]
    start, end = (min(numbers), max(numbers)) if numbers else (0.0, 0.0)

    def x(value: Any, instead: Any) -> float:
        share = ((value if is_number(value) else instead) - start) / (end - start) if end > start else 0.5
        return round(_MARGIN + share * (CHART_WIDTH - 2 * _MARGIN), 1)

    marks = []
    for number, (system, entry) in enumerate(zip(systems, entries, strict=True)):
        value = entry.get("value")
        if is_number(value):
            low, high = x(entry.get("low"), value), x(entry.get("high"), value)
            marks.append(Mark(system.tone, x(value, value), low, high, LANE * (number + 0.5)))
    return marks
