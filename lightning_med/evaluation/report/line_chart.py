"""Geometry of charts with a line for each model over bins of the references' length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_med.evaluation.report.systems import Metrics, System, is_number
from lightning_med.utils.page.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, place_ticks
from lightning_med.utils.page.number_format import format_number

_PADDING = 0.08  # of the range of values, above and below


@dataclass(frozen=True)
class LineChart:
    """A line for each model, in SVG units.

    Attributes:
        x_ticks, y_ticks: Positions and labels; those of x are the edges of the bins.
        lines: Class, path, and points of each model.
    """

    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[tuple[str, str, list[tuple[float, float]]]]


def list_bins(metrics: Metrics, systems: list[System]) -> list[tuple[Any, Any]]:
    """Returns start and end of all bins of lengths, rising; an end may be open."""
    bins = {(bin_.get("from"), bin_.get("to")) for system in systems for bin_ in get_bins(metrics, system.name)}
    return sorted(bins, key=lambda ends: ends[0] or 0)


def get_bins(metrics: Metrics, name: str) -> list[dict[str, Any]]:
    """Returns the bins of lengths of a model."""
    return ((metrics.get("breakdowns") or {}).get(name) or {}).get("by_length") or []


def draw_lines(metrics: Metrics, systems: list[System], measure: str) -> LineChart | None:
    """Lays out a measure by the length of the reference.

    Args:
        metrics: As in `metrics.json`.
        systems: To draw, if they have the measure.
        measure: `nll` or `bits_per_byte`.

    Returns:
        The layout; `None` without two bins that have a value.
    """
    bins = list_bins(metrics, systems)
    values = {
        system: {
            (bin_.get("from"), bin_.get("to")): float(bin_[measure])
            for bin_ in get_bins(metrics, system.name)
            if is_number(bin_.get(measure))
        }
        for system in systems
    }
    numbers = [value for series in values.values() for value in series.values()]
    if len(bins) < 2 or not numbers:
        return None
    padding = (max(numbers) - min(numbers) or 1.0) * _PADDING
    start, end = min(numbers) - padding, max(numbers) + padding
    width = (WIDTH - LEFT - RIGHT) / len(bins)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - start) / (end - start) * (HEIGHT - TOP - BOTTOM), 1)

    lines = []
    for system, series in values.items():
        points = [
            (round(LEFT + width * (i + 0.5), 1), y(series[ends])) for i, ends in enumerate(bins) if ends in series
        ]
        if points:
            path = "M" + "L".join(f"{x} {height}" for x, height in points)
            lines.append((system.tone, path, points))
    edges = [format_number(bin_[0]) for bin_ in bins] + [format_number(bins[-1][1]) if bins[-1][1] else "more"]
    return LineChart(
        [(round(LEFT + width * i, 1), edge) for i, edge in enumerate(edges)],
        [(y(tick), f"{tick:.4g}") for tick in place_ticks(start, end, 4)],
        lines,
    )
