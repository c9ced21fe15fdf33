"""Geometry of the pages' charts; the templates draw them as inline SVG, the style sheets colour them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import median_high

from lightning_med.utils.page.number_format import format_number, format_percent, format_quantity

WIDTH, HEIGHT = 360, 200  # about its size on the page in CSS pixels, so that labels are not scaled
LEFT, RIGHT, TOP, BOTTOM = 38, 10, 30, 24  # margins
_AXIS_SHARE = 0.995  # of the rows; the axis ends where this share is reached, the rest is counted in a note
_LIMIT_REACH = 1.6  # the axis is extended to the limit if that makes it at most this many times as long


@dataclass(frozen=True)
class Histogram:
    """Histograms of several sets of rows on one pair of axes, in SVG units.

    Attributes:
        x_ticks, y_ticks: Positions and labels.
        outlines: By the name of a set, the path of its outline.
        bin_width: Units of the x-axis that a share is counted over.
        limit_x: Where the limit is marked; `None` without one on the axis.
        note: What lies beyond the axis.
    """

    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    outlines: dict[str, str]
    bin_width: float
    limit_x: float | None
    note: str


def make_histogram(
    edges: list[float], counts: dict[str, list[int]], limit: int | None = None, tail: str = "longer than {} tokens"
) -> Histogram | None:
    """Lays out each set of rows as shares of it, so that sets of different sizes compare.

    Args:
        edges: Of the bins, rising.
        counts: Of each set, one for each bin; an empty set is left out.
        limit: A value to mark.
        tail: What the rows beyond the axis are, with a place for its end.

    Returns:
        The layout; `None` without rows.
    """
    edges, counts = [float(edge) for edge in edges], {name: bins for name, bins in counts.items() if sum(bins)}
    pooled = [sum(bins) for bins in zip(*counts.values(), strict=False)][: max(len(edges) - 1, 0)]
    rows = sum(sum(bins) for bins in counts.values())
    if not sum(pooled):
        return None
    shown = _count_shown_bins(edges, pooled, limit)
    start, end = edges[0], edges[shown]
    if limit and end < limit <= _LIMIT_REACH * end:
        end = limit * 1.02
    bin_width = median_high(right - left for left, right in pairwise(edges[: shown + 1])) or 1.0
    shares = {name: _compute_shares(bins, edges, bin_width)[:shown] for name, bins in counts.items()}
    peak = max(map(max, shares.values())) * 1.05 or 1.0

    def x(value: float) -> float:
        return round(LEFT + (value - start) / ((end - start) or 1) * (WIDTH - LEFT - RIGHT), 1)

    def y(share: float) -> float:
        return round(HEIGHT - BOTTOM - share / peak * (HEIGHT - TOP - BOTTOM), 1)

    outlines = {}
    for name, bins in shares.items():
        steps = "".join(f"V{y(share)}H{x(edge)}" for share, edge in zip(bins, edges[1:], strict=False))
        outlines[name] = f"M{x(start)} {y(0)}{steps}V{y(0)}"
    return Histogram(
        x_ticks=[(x(tick), format_number(tick)) for tick in place_ticks(start, end, 5)],
        y_ticks=[(y(tick), f"{tick * 100:.3g}%") for tick in place_ticks(0, peak, 4)],
        outlines=outlines,
        bin_width=bin_width,
        limit_x=x(limit) if limit and start < limit <= end else None,
        note=_describe_tail(rows - sum(pooled[:shown]), rows, tail.format(format_number(edges[shown])), limit, end),
    )


def _compute_shares(bins: list[int], edges: list[float], bin_width: float) -> list[float]:
    """Returns the share of rows in each bin, scaled as if all bins had the same width."""
    widths = [(right - left) or bin_width for left, right in pairwise(edges)]
    return [count / sum(bins) * bin_width / width for count, width in zip(bins, widths, strict=False)]


def _count_shown_bins(edges: list[float], pooled: list[int], limit: int | None) -> int:
    """Returns how many bins the axis holds: nearly all rows, and up to the limit if that is near."""
    reached = accumulate(pooled)
    shown = next(i for i, rows in enumerate(reached, 1) if rows and rows >= _AXIS_SHARE * sum(pooled))
    reach = _LIMIT_REACH * edges[shown]
    while limit and limit <= reach and shown < len(pooled) and edges[shown] < limit:
        shown += 1
    return shown


def _describe_tail(count: int, rows: int, tail: str, limit: int | None, axis_end: float) -> str:
    verb = "is" if count == 1 else "are"
    share = format_percent(count, rows)
    notes = [f"{format_quantity(count, 'row')} ({share}) {verb} {tail}."] * (count > 0)
    if limit and limit > axis_end:
        notes.append(f"The limit, {format_number(limit)} tokens, lies beyond the axis.")
    return " ".join(notes)


def place_ticks(start: float, end: float, count: int) -> list[float]:
    """Returns at most about `count` round numbers from `start` to `end`."""
    rough = (end - start) / count or 1.0
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return [step * i for i in range(math.ceil(start / step), math.floor(end / step * 1.0001) + 1)]


def measure_bar(part: float, longest: float) -> str:
    """Returns a bar's width in percent of the longest one; a part above zero stays visible."""
    return f"{max(100 * part / longest, 0.5) if longest and part else 0:.2f}"
