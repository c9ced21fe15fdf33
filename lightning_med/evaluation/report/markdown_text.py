"""Untrusted texts and tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lightning_med.evaluation.report.metric_table import Table
from lightning_med.evaluation.report.systems import Metrics, System
from lightning_med.evaluation.report.verdicts import Pair
from lightning_med.utils.page.number_format import make_visible

_SPECIAL = re.compile(r"[\\`*<>\[\]|~#]|(?<![^\W_])_|_(?![^\W_])")  # underscores within a word mark nothing


def escape(text: object) -> str:
    """Returns a text on one line, without anything that Markdown or HTML would read as a mark."""
    return _SPECIAL.sub(r"\\\g<0>", str(make_visible(" ".join(str(text).split()))))


def format_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table; its cells are finished Markdown. The first column is text, the others are figures."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def format_metrics(table: Table, names: Sequence[str] | None = None) -> str:
    """Returns a table of metrics, with intervals in parentheses; of all metrics, or those named."""
    rows = [
        [
            escape(f"{row.title} ({row.count})" if row.count else row.title),
            *(f"{value} ({interval})" if interval else value for value, interval in row.cells),
        ]
        for row in table.rows
        if names is None or row.name in names
    ]
    return format_table(["Metric", *(escape(system.title) for system in table.systems)], rows) if rows else ""


def format_pair(pair: Pair) -> str:
    """Returns the verdicts of a pair as an item of a list."""
    verdicts = " ".join(
        f"{words} {len(titles)} metrics." if titles is pair.undecided else f"{words} {'; '.join(map(escape, titles))}."
        for words, titles in pair.describe()
    )
    return f"- **{escape(pair.a)}** against **{escape(pair.b)}**. {verdicts}".rstrip()


def format_chain(system: System, steps: Sequence[tuple[str, str]]) -> str:
    """Returns where a model comes from as an item of a list."""
    return f"- {escape(system.title)}: " + " → ".join(f"{title.lower()} {escape(value)}" for title, value in steps)


def describe_data(metrics: Metrics) -> str:
    """Returns what was measured on, in a sentence."""
    data = metrics.get("data") or {}
    files = ", ".join(escape(name) for name in data.get("files") or []) or "no file"
    split = f", split {escape(data['split'])}" if data.get("split") else ""
    return f"{data.get('rows') or 0:,} rows with {data.get('groups') or 0:,} different questions of {files}{split}."
