"""Geometry of the charts that the data page alone has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightning_med.data.report.labels import SPLIT_TITLES
from lightning_med.utils.page.charts import Histogram, make_histogram


def make_length_histogram(lengths: dict[str, Any], limit: int | None = None) -> Histogram | None:
    """Lays out the lengths of each split.

    Args:
        lengths: `edges`, and counts for each split.
        limit: A length to mark.

    Returns:
        The layout; `None` without rows.
    """
    counts = {split: lengths[split] for split in SPLIT_TITLES if lengths.get(split)}
    return make_histogram(lengths.get("edges") or [], counts, limit)


def stack_segments(sizes: dict[str, int]) -> Iterator[tuple[str, float, float]]:
    """Yields name, position and width, in thousandths, of the parts of a whole that are not empty."""
    whole, start = sum(sizes.values()), 0.0
    for name, size in sizes.items():
        width = 1000 * size / whole if whole else 0
        if size:
            gap = 3 if start else 0
            yield name, round(start + gap, 1), round(max(width - gap, 2), 1)
        start += width
