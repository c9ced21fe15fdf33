"""What a person is told, by danger and by region: fixed words, never a model's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("advice.yaml")
REGION_VARIABLE = "LIGHTNING_MED_REGION"
UNKNOWN_REGION = "unknown"  # its advice names the numbers of several regions


@cache
def _read_words() -> dict[str, Any]:
    from lightning_med.safety.yaml_files import read_yaml

    return read_yaml(PATH)


def list_regions() -> tuple[str, ...]:
    """The regions whose numbers are known, as two-letter codes of countries (ISO 3166)."""
    return tuple(name for name in _read_words()["regions"] if name != UNKNOWN_REGION)


def resolve_region(region: str | None = None) -> str:
    """A known region: the one that is named, else `$LIGHTNING_MED_REGION`, else the locale's; or `unknown`."""
    region = region or os.environ.get(REGION_VARIABLE)
    if not region:
        region = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
        region = region.partition(".")[0].partition("@")[0].rpartition("_")[2] if "_" in region else ""
    known = _read_words()
    region = region.upper()
    return str(known["same_as"].get(region, region if region in known["regions"] else UNKNOWN_REGION))


def compose_advice(found: Sequence[tuple[str, str]], region: str | None = None) -> str:
    """The advice for all dangers that were found.

    Args:
        found: Categories and their levels, the gravest first.
        region: See `region_of`.
    """
    words = _read_words()
    numbers = words["regions"][resolve_region(region)]
    lines: list[str] = []
    for name, level in found:
        special = words["categories"].get(name, {})
        for line in (
            special.get(level) or words["levels"][level],
            special.get("while_waiting") if level == "emergency" else "",
        ):
            if line and line not in lines:
                lines.append(line)
    return "\n".join(line.format(**numbers).strip() for line in lines)


def get_notice(name: str, region: str | None = None) -> str:
    """A fixed text of the guard or the command: `safe_answer`, `off`, …"""
    words = _read_words()
    return str(words["notices"][name]).format(**words["regions"][resolve_region(region)]).strip()
