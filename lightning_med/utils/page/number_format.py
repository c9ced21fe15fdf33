"""Numbers and untrusted texts as the pages show them."""

from __future__ import annotations

import math
from typing import Any

NONE = "–"
_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}


def format_number(value: Any) -> str:
    """Formats a number with thousands separators; a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{int(value):,}" if value == int(value) else f"{value:,.4g}"


def format_percent(part: float | None, whole: float = 1) -> str:
    """Formats a share; one above zero is never shown as 0%, one below the whole never as 100%."""
    if part is None or not whole or not math.isfinite(part):
        return NONE
    share = part / whole
    if 0 < share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def format_quantity(count: Any, noun: str) -> str:
    """Formats a count with its noun: `1 row`, `2 rows`."""
    return f"{format_number(count)} {noun}{'s' * (count != 1)}"


def make_visible(value: Any) -> Any:
    """Replaces control characters by their pictures, and lone surrogates by question marks; keeps finished HTML."""
    if hasattr(value, "__html__"):
        return value
    return str(value).encode("utf-8", "replace").decode().translate(_CONTROLS)
