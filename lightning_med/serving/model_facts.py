"""What people should know of a model before they talk to it: its base, data and figures, from its card."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lightning_med.checkpoints.export_folder import SETTINGS

_CARD = "README.md"
_SOURCE = re.compile(r"^Source (.+?)\. ([\d,]+) rows read, ([\d,]+) kept\.$", re.M)
_SPLITS = re.compile(r"^Training ([\d,]+), validation ([\d,]+), test ([\d,]+);", re.M)
_METRICS = {"val/perplexity": "Perplexity, validation", "val/bits_per_byte": "Bits per byte, validation"}


def read_model_facts(folder: Path) -> list[tuple[str, str]]:
    """Returns labels and values; what a card does not say is left out.

    Args:
        folder: Of the model.
    """
    settings, card, folder = _read_settings(folder), _read(folder / _CARD), folder.resolve()
    name = folder.parent.parent.name if folder.name == "export" else folder.name
    facts = {"Model": name or "model"}
    facts["Base"] = str(settings.get("base") or ("random weights" if settings else ""))
    if source := _SOURCE.search(card):
        facts["Data"] = source[1].replace("`", "")
        facts["Rows"] = f"{source[3]} of {source[2]}"
    if splits := _SPLITS.search(card):
        facts["Training rows"] = splits[1]
    facts["Optimizer steps"] = f"{settings['step']:,}" if isinstance(settings.get("step"), int) else ""
    for name, label in _METRICS.items():
        if row := re.search(rf"^\| {re.escape(name)} \| (\d+(?:\.\d+)?) \|$", card, re.M):
            facts[label] = f"{float(row[1]):.2f}"
    version = settings.get("lightning_med_version")
    facts["Made with"] = f"lightning_med {version}" if version else ""
    return [(label, value) for label, value in facts.items() if value]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads(_read(folder / SETTINGS) or "{}")
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) else {}
