"""The fixed texts that a person is shown, by category of danger and by region; no model writes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lightning_med.safety.levels import EMERGENCY, URGENT
from lightning_med.safety.yaml_files import read_yaml

PATH = Path(__file__).with_name("advice.yaml")
REGION_VARIABLE = "LIGHTNING_MED_REGION"
UNKNOWN_REGION = "unknown"  # its advice names the emergency numbers of several regions


@cache
def _read_texts() -> dict[str, Any]:
    return read_yaml(PATH)


def list_regions() -> tuple[str, ...]:
    """Returns the regions whose emergency numbers are known, as two-letter country codes (ISO 3166)."""
    return tuple(name for name in _read_texts()["regions"] if name != UNKNOWN_REGION)


def resolve_region(region: str | None = None) -> str:
    """Returns a key of `regions` in the texts.

    Args:
        region: A country code; default: `$LIGHTNING_MED_REGION`, else the country of the locale.

    Returns:
        The region, or `UNKNOWN_REGION` if its numbers are not known.
    """
    region = region or os.environ.get(REGION_VARIABLE)
    if not region:
        region = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
        region = region.partition(".")[0].partition("@")[0].rpartition("_")[2] if "_" in region else ""
    texts = _read_texts()
    region = region.upper()
    return str(texts["same_as"].get(region, region if region in texts["regions"] else UNKNOWN_REGION))


def resolve_file_region(region: str | None = None) -> str:
    """Returns the region for texts that are written to a file, which must not depend on the machine's locale.

    Args:
        region: A country code; default: `$LIGHTNING_MED_REGION`.

    Returns:
        The region, or `UNKNOWN_REGION` if none is named or its numbers are not known.
    """
    return resolve_region(region or os.environ.get(REGION_VARIABLE) or UNKNOWN_REGION)


def compose_advice(dangers: Sequence[tuple[str, str]], region: str | None = None, evidence: Sequence[str] = ()) -> str:
    """Returns the advice for all dangers of a message, without repeated lines.

    Args:
        dangers: Categories with their levels, the most severe first.
        region: See `resolve_region`.
        evidence: Words of the message; the advice to see a doctor soon names the first of them.
    """
    texts = _read_texts()
    numbers = texts["regions"][resolve_region(region)]
    lines: list[str] = []
    for category, level in dangers:
        special = texts["categories"].get(category, {})
        general = special.get(level) or texts["levels"][level]
        while_waiting = special.get("while_waiting") if level == EMERGENCY else None
        lines += [line for line in (general, while_waiting) if line and line not in lines]
    advice = [line.format(**numbers).strip() for line in lines]
    if evidence and all(level == URGENT for _, level in dangers):
        advice.insert(0, texts["you_wrote"].replace("{words}", evidence[0]).strip())
    return "\n".join(advice)


def get_notice(name: str, region: str | None = None) -> str:
    """Returns the text `name` of the section `notices`."""
    texts = _read_texts()
    return str(texts["notices"][name]).format(**texts["regions"][resolve_region(region)]).strip()
