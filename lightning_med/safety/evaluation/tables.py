"""The figures of triage as text: tables that are Markdown, too, and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lightning_med.safety.evaluation.figures import LEVELS, count_figures, count_verdicts
from lightning_med.utils.shares import compute_share_interval, format_share


def format_tables(pairs: Sequence[tuple[str, str]]) -> str:
    """Returns the figures with their intervals, and below them the confusion matrix.

    Args:
        pairs: Of label and verdict, one for each message.
    """
    figures = [(name, format_share(*counts)) for name, counts in count_figures(pairs).items()]
    matrix = [
        (label, *(str(count) for count in counts.values()), str(sum(counts.values())))
        for label, counts in count_verdicts(pairs).items()
    ]
    return "\n".join(
        [
            *_format_table([("what", "measured"), *figures]),
            "",
            *_format_table([("label \\ verdict", *LEVELS, "all"), *matrix]),
        ]
    )


def format_json(pairs: Sequence[tuple[str, str]]) -> str:
    """Returns the same as JSON: `messages`, `figures` by name and `verdicts` by label.

    A figure has `hits`, `total`, `share`, `low` and `high`; the last three, from 0 to 1, are null where the total is 0.

    Args:
        pairs: Likewise.
    """
    figures = {name: _describe_share(*counts) for name, counts in count_figures(pairs).items()}
    return json.dumps({"messages": len(pairs), "figures": figures, "verdicts": count_verdicts(pairs)}, indent=2)


def _describe_share(hits: int, total: int) -> dict[str, float | None]:
    low, high = compute_share_interval(hits, total) if total else (None, None)
    return {"hits": hits, "total": total, "share": hits / total if total else None, "low": low, "high": high}


def _format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table whose columns are aligned; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    return [lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]]
