"""Pictures of the data page: inline SVG whose colours the style sheet chooses, for light, dark and paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from lightning_med.data.report.html_elements import SPLIT_NAMES, number, percent, row_count, text

_WIDTH, _HEIGHT = 360, 200  # about its size on the page, so that a label keeps the size it has here
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 10, 30, 24
_TAIL = 0.995  # rows that the axis of a histogram has to hold; the rest is counted in words
_FAR = 1.6  # times that length: a limit farther out is not worth the empty space


def bar(part: float, longest: float, kind: str = "plain") -> str:
    """A bar below a figure that stands in the same row, hence hidden from a reader of the screen."""
    width = max(100 * part / longest, 0.5) if longest and part else 0
    return (
        '<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="1"/><rect class="{kind}" width="{width:.2f}" height="1"/></svg>'
    )


def stack(parts: Sequence[tuple[str, str, int]], label: str) -> str:
    """Parts of a whole in one bar.

    Args:
        parts: Name, kind (a colour) and size of each.
        label: What the whole is, for the text in place of the picture.
    """
    whole = sum(size for _, _, size in parts)
    spoken = ", ".join(f"{name} {number(size)} ({percent(size, whole)})" for name, _, size in parts)
    pieces, start = [], 0.0
    for _, kind, size in parts:
        width = 1000 * size / whole if whole else 0
        if size:
            gap = 3 if start else 0
            pieces.append(f'<rect class="{kind}" x="{start + gap:.1f}" width="{max(width - gap, 2):.1f}" height="1"/>')
        start += width
    return (
        '<svg class="stack" viewBox="0 0 1000 1" preserveAspectRatio="none" role="img"'
        f' aria-label="{text(label)}: {spoken}"><rect class="track" width="1000" height="1"/>{"".join(pieces)}</svg>'
    )


def swatch(split: str) -> str:
    """The sign of a split in a legend, drawn as its line is in the histograms."""
    return (
        '<svg class="swatch" viewBox="0 0 22 12" aria-hidden="true">'
        f'<path class="area {split}" d="M1 6H21V12H1Z"/><path class="line {split}" d="M1 6H21"/></svg>'
    )


def histogram(lengths: dict[str, Any], name: str, limit: int | None = None) -> tuple[str, str]:
    """How long the texts of each split are: shares of its rows, so that splits of unlike size compare.

    Args:
        lengths: `edges`, and counts for each split.
        name: What is counted.
        limit: A length to be marked.

    Returns:
        The picture and a sentence about what lies beyond its axis; both empty where no row is.
    """
    edges = [float(edge) for edge in lengths.get("edges") or []]
    counts = {split: lengths[split] for split in SPLIT_NAMES if sum(lengths.get(split) or [])}
    pooled = [sum(bins) for bins in zip(*counts.values(), strict=False)][: max(len(edges) - 1, 0)]
    rows = sum(sum(bins) for bins in counts.values())
    if not sum(pooled):
        return "", ""
    shown = _shown(edges, pooled, limit)
    end = edges[shown]
    if limit and end < limit <= _FAR * end:
        end = limit * 1.02
    width = sorted(right - left for left, right in pairwise(edges[: shown + 1]))[shown // 2] or 1.0
    heights = {
        split: [
            count / sum(bins) * width / ((right - left) or width)
            for count, left, right in zip(bins[:shown], edges, edges[1:], strict=False)
        ]
        for split, bins in counts.items()
    }
    picture = _frame(name, lengths, _drawn(heights, edges, end, width, limit))
    return picture, _beyond(rows - sum(pooled[:shown]), rows, edges[shown], limit, end)


def _shown(edges: list[float], pooled: list[int], limit: int | None) -> int:
    """How many bins the axis holds: nearly all rows, and up to the limit if that is not far."""
    shown, reached = 0, 0
    while shown < len(pooled) and (reached < _TAIL * sum(pooled) or not reached):
        reached += pooled[shown]
        shown += 1
    near = _FAR * edges[shown]
    while limit and limit <= near and shown < len(pooled) and edges[shown] < limit:
        shown += 1
    return shown


def _beyond(tail: int, rows: int, end: float, limit: int | None, axis: float) -> str:
    are = "is" if tail == 1 else "are"
    said = [f"{row_count(tail)} ({percent(tail, rows)}) {are} longer than {number(end)} tokens."] if tail > 0 else []
    if limit and limit > axis:
        said.append(f"The limit, {number(limit)} tokens, lies beyond the axis.")
    return " ".join(said)


def _drawn(
    heights: dict[str, list[float]], edges: list[float], end: float, width: float, limit: int | None
) -> Iterable[str]:
    start = edges[0]
    peak = max(max(bins) for bins in heights.values()) * 1.05 or 1.0

    def x(value: float) -> float:
        return _LEFT + (value - start) / ((end - start) or 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(share: float) -> float:
        return _HEIGHT - _BOTTOM - share / peak * (_HEIGHT - _TOP - _BOTTOM)

    for tick in _ticks(0, peak, 4):
        yield f'<path class="grid" d="M{_LEFT} {y(tick):.1f}H{_WIDTH - _RIGHT}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick * 100:.3g}%</text>'
    for tick in _ticks(start, end, 5):
        yield f'<text x="{x(tick):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{number(tick)}</text>'
    yield f'<text x="0" y="12">rows per {number(width)} tokens</text>'
    for split, bins in heights.items():
        outline = "".join(f"V{y(share):.1f}H{x(edge):.1f}" for share, edge in zip(bins, edges[1:], strict=False))
        outline = f"M{x(start):.1f} {y(0):.1f}{outline}V{y(0):.1f}"
        yield f'<path class="area {split}" d="{outline}Z"/><path class="line {split}" d="{outline}"/>'
    if limit and start < limit <= end:
        at = x(limit)
        yield f'<path class="limit" d="M{at:.1f} {_TOP - 10}V{y(0):.1f}"/>'
        side = "end" if at > _WIDTH / 2 else "start"
        yield (
            f'<text class="limit" x="{at + (-6 if side == "end" else 6):.1f}" y="{_TOP}"'
            f' text-anchor="{side}">limit {number(limit)}</text>'
        )


def _ticks(start: float, end: float, most: int) -> list[float]:
    """Round numbers from `start` to `end`."""
    rough = (end - start) / most or 1.0
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(start / step)
    return [step * index for index in range(first, math.floor(end / step * 1.0001) + 1)]


def _frame(name: str, lengths: dict[str, Any], drawn: Iterable[str]) -> str:
    said = {"p50": "half of the rows have at most", "p90": "nine of ten at most", "p99": "99 of 100 at most"}
    spoken = ", ".join(f"{words} {number(lengths.get(key))}" for key, words in said.items())
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(name)} in tokens:'
        f' {spoken}; the longest has {number(lengths.get("max"))}.">{"".join(drawn)}</svg>'
    )
