"""The rules of `answer_rules.yaml`, compiled: what is removed from an answer, and what is rewritten."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from lightning_med.safety.yaml_files import read_yaml

PATH = Path(__file__).with_name("answer_rules.yaml")


def make_unsafe_advice_pattern() -> str:
    """Returns one RE2 pattern for discouragement from seeking care and for abuse, which no doctor should write."""
    remove = _read_rules()["remove"]
    return "(?i)" + "|".join(pattern for reason in ("discouragement", "abuse") for pattern in remove[reason])


@cache
def compile_removals() -> dict[str, list[re.Pattern[str]]]:
    """Returns the patterns of sentences that are removed, by reason."""
    return {
        reason: [re.compile(pattern, re.IGNORECASE) for pattern in patterns]
        for reason, patterns in _read_rules()["remove"].items()
    }


@cache
def compile_rewrites() -> list[tuple[re.Pattern[str], str]]:
    """Returns the patterns that are rewritten, each with the template of its replacement."""
    return [(re.compile(entry["find"], re.IGNORECASE), entry["write"]) for entry in _read_rules()["rewrite"]]


@cache
def _read_rules() -> dict[str, Any]:
    return read_yaml(PATH)
