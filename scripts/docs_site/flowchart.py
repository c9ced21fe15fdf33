"""Draws the flowcharts of the pages as SVG, so that the site needs no program of 3 MB that draws them in the browser.

It knows what the pages use of Mermaid: `flowchart TB`, nodes `name["<b>title</b><br>words"]`, arrows `a & b --> c & d`.
"""

from __future__ import annotations

import re
import textwrap
from html import escape
from itertools import pairwise

from lightning_med.utils.errors import InputError

_NODE = re.compile(r'(\w+)\["<b>(.*?)</b><br>(.*?)"\]')
_WIDTH, _GAP, _RISE = 158, 14, 32  # of a box; between boxes of a row; between rows
_LINE, _CHARACTERS = 18, 23  # the height of a line, and the characters per line
_HINT = f"See {__name__} for what can be drawn."


def draw_flowchart(text: str) -> str:
    """Returns a figure with the SVG of a flowchart.

    Args:
        text: Of a Mermaid block.

    Raises:
        InputError: The block has something else than the flowcharts that are known here.
    """
    first, *lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    if not first:
        raise InputError("A diagram is empty.", _HINT)
    nodes: dict[str, tuple[str, str]] = {}
    arrows: list[tuple[str, str]] = []
    for line in lines:
        if match := _NODE.fullmatch(line):
            nodes[match[1]] = (match[2], match[3])
        elif "-->" not in line:
            raise InputError(f"A diagram has {line!r}, which cannot be drawn.", _HINT)
        else:
            steps = [[name.strip() for name in step.split("&")] for step in line.split("-->")]
            arrows += [(a, b) for one, other in pairwise(steps) for a in one for b in other]
    if first != "flowchart TB" or not arrows or not {name for arrow in arrows for name in arrow} <= nodes.keys():
        raise InputError(f"A diagram begins with {first!r} and cannot be drawn.", _HINT)
    return _draw(nodes, arrows, _rank(list(nodes), arrows))


def _rank(names: list[str], arrows: list[tuple[str, str]]) -> list[list[str]]:
    """Returns the names in rows; every arrow leads to a lower row.

    Raises:
        InputError: The arrows make a cycle.
    """
    row = dict.fromkeys(names, 0)
    for _ in names:  # as many rounds as the longest path can have
        for start, end in arrows:
            row[end] = max(row[end], row[start] + 1)
    if any(row[end] <= row[start] for start, end in arrows):
        raise InputError(f"The arrows of a diagram make a cycle: {', '.join(names)}.", "Take one of them out.")
    return [[name for name in names if row[name] == i] for i in range(max(row.values()) + 1)]


def _draw(nodes: dict[str, tuple[str, str]], arrows: list[tuple[str, str]], rows: list[list[str]]) -> str:
    lines = {name: [title, *textwrap.wrap(words, _CHARACTERS)] for name, (title, words) in nodes.items()}
    width = max(map(len, rows)) * (_WIDTH + _GAP) - _GAP
    places: dict[str, tuple[float, int, int]] = {}  # the middle of a box, its top, its height
    top = 1
    for row in rows:
        left, height = (
            (width - len(row) * (_WIDTH + _GAP) + _GAP) / 2,
            max(len(lines[name]) for name in row) * _LINE + 14,
        )
        places |= {name: (left + k * (_WIDTH + _GAP) + _WIDTH / 2, top, height) for k, name in enumerate(row)}
        top += height + _RISE
    shapes = []
    for start, end in arrows:
        (x, y, height), (u, v, _) = places[start], places[end]
        shapes.append(f'<path d="M{x:g} {y + height}L{u:g} {v - 3}" marker-end="url(#tip)"/>')
    for name, (x, y, height) in places.items():
        shapes.append(f'<rect x="{x - _WIDTH / 2:g}" y="{y}" width="{_WIDTH}" height="{height}" rx="6"/>')
        kinds = [' class="title"', *[""] * len(lines[name])]
        for i, (line, kind) in enumerate(zip(lines[name], kinds, strict=False), 1):
            shapes.append(f'<text x="{x:g}" y="{y + i * _LINE + 2}"{kind}>{escape(line)}</text>')
    names = "; ".join(f"{title}: {words}" for title, words in nodes.values())
    tip = '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    box = f"0 0 {width:g} {top - _RISE + 1}"
    return (
        f'<figure class="flowchart"><svg viewBox="{box}" role="img" aria-label="{escape(names)}">'
        f'{tip}<path d="M0 0L8 4L0 8z"/></marker></defs>{"".join(shapes)}</svg></figure>\n'
    )
