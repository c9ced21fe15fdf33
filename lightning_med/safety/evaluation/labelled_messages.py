"""The labels that people gave to messages."""

from __future__ import annotations

from typing import Any

from lightning_med.safety.evaluation.figures import LEVELS
from lightning_med.utils.errors import InputError

EXAMPLE = '{"text": "My chest hurts.", "label": "emergency"}'


def get_label(row: dict[str, Any], where: str) -> str:
    """Returns the label of a row: its `label`, else its `level`.

    The `level` of a row that has `advice` too is no label but a verdict: such rows are what `triage --output` writes.

    Args:
        row: Of a JSON Lines file.
        where: Names the row in an error: file and line.

    Raises:
        InputError: It has no label, or one that is no level.
    """
    label = row.get("label", None if "advice" in row else row.get("level"))
    if label is None:
        raise InputError(f"{where}: it has no label.", f"Write {EXAMPLE}")
    if label not in LEVELS:
        raise InputError(f"{where}: the label {str(label)[:40]!r} is not known.", f"Known: {', '.join(LEVELS)}.")
    return str(label)
