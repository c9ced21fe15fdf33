"""Compares the output that a page shows with what a command wrote."""

from __future__ import annotations

import re

_FIGURE = re.compile(r"\d[\d,.:]*(?:e[-+]\d+)?")
_FRAME = re.compile(r"[\u2500-\u257f\s]+")  # lines of tables, whose width follows the figures in them
_STYLE = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")


def find_missing(shown: list[str], written: str) -> list[str]:
    """Returns the shown lines that the output lacks, or has in another order.

    Figures, white space and the lines of tables are not compared; `…` stands for any text.

    Args:
        shown: Lines of the page.
        written: The command's output.
    """
    output = [_simplify(line) for line in re.split(r"[\r\n]+", _STYLE.sub("", written))]
    missing, start = [], 0
    for line in shown:
        wanted = _simplify(line)
        if not wanted.replace("…", "").strip():
            continue
        pattern = re.compile(".*".join(map(re.escape, wanted.split("…"))))
        found = next((place for place in range(start, len(output)) if pattern.fullmatch(output[place])), None)
        if found is None:
            missing.append(line)
        else:
            start = found + 1
    return missing


def _simplify(line: str) -> str:
    return _FIGURE.sub("0", _FRAME.sub(" ", line)).strip()
