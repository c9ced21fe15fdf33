"""Labelled messages: from the files of a folder, and from the rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning_med.safety.levels import ORDINARY
from lightning_med.safety.messages.danger_rules import Rulebook
from lightning_med.utils.errors import InputError

FOLDER = Path(__file__).parent


def load_rows(folder: Path) -> list[dict[str, Any]]:
    """Loads the rows of all `*.jsonl` files of a folder.

    Returns:
        Rows with `text`, `level`, `category` and `file`, the name of the file without its ending.

    Raises:
        InputError: There is no row, or a line is not such a row.
    """
    rows = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                values = {name: row[name] for name in ("text", "level", "category")}
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path}, line {number}: not a text, a level and a category as JSON.") from error
            rows.append({**values, "file": path.stem})
    if not rows:
        raise InputError(f"{folder} contains no examples.", "It needs *.jsonl files with text, level and category.")
    return rows


def list_rule_examples(rules: Rulebook) -> list[dict[str, Any]]:
    """Returns the rules' own examples as rows, their counter-examples as look-alikes."""
    return [
        {"text": text, "level": level, "category": name, "file": file}
        for name, category in rules.categories.items()
        for texts, level, file in (
            (category.examples, category.level, "rules"),
            (category.counter_examples, ORDINARY, "look_alikes"),
        )
        for text in texts
    ]


def get_set_name(row: dict[str, Any]) -> str:
    """Returns the name of the set that a row's file is part of: `emergencies_2` is part of `emergencies`."""
    return str(row["file"]).rstrip("_0123456789")
