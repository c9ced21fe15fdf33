"""Draws the flowcharts of the pages as SVG, so that the site needs no program of 3 MB that draws them in the browser.

It knows what the pages use of Mermaid: `flowchart TB`, nodes `name["<b>title</b><br>words"]`, and arrows `a & b --> c & d`.
"""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise

from lightning_med.utils.errors import InputError

_NODE = re.compile(r'(\w+)\["(?:<b>(.*?)</b><br>)?(.*?)"\]')
_WIDTH, _HEIGHT, _GAP, _RISE = 250, 52, 18, 34  # of a box; between boxes of a row; between rows


def draw_flowchart(text: str) -> str:
    """Returns a figure with the SVG of a flowchart.

    Args:
        text: Of a Mermaid block.

    Raises:
        InputError: The block has something else than the flowcharts that are known here.
    """
    first, *lines = [line.strip() for line in text.splitlines() if line.strip()]
    nodes: dict[str, tuple[str, str]] = {}
    arrows: list[tuple[str, str]] = []
    for line in lines:
        if match := _NODE.fullmatch(line):
            nodes[match[1]] = (match[2] or "", match[3])
        else:
            steps = [[name.strip() for name in step.split("&")] for step in line.split("-->")]
            arrows += [(a, b) for one, other in pairwise(steps) for a in one for b in other]
    if first != "flowchart TB" or not arrows or not {name for arrow in arrows for name in arrow} <= nodes.keys():
        raise InputError(f"A diagram begins with {first!r} and cannot be drawn.", f"See {__name__} for what can.")
    return _draw(nodes, arrows, _rank(list(nodes), arrows))


def _rank(names: list[str], arrows: list[tuple[str, str]]) -> list[list[str]]:
    """Returns the names in rows; every arrow leads to a lower row."""
    row = dict.fromkeys(names, 0)
    for _ in names:  # as many rounds as the longest path can have
        for start, end in arrows:
            row[end] = max(row[end], row[start] + 1)
    return [[name for name in names if row[name] == i] for i in range(max(row.values()) + 1)]


def _draw(nodes: dict[str, tuple[str, str]], arrows: list[tuple[str, str]], rows: list[list[str]]) -> str:
    width = max(map(len, rows)) * (_WIDTH + _GAP) - _GAP
    places: dict[str, tuple[float, float]] = {}
    for i, row in enumerate(rows):
        left = (width - len(row) * (_WIDTH + _GAP) + _GAP) / 2
        places |= {name: (left + k * (_WIDTH + _GAP), i * (_HEIGHT + _RISE) + 1) for k, name in enumerate(row)}
    shapes = []
    for start, end in arrows:
        (x, y), (u, v) = places[start], places[end]
        shapes.append(f'<path d="M{x + _WIDTH / 2:g} {y + _HEIGHT:g}L{u + _WIDTH / 2:g} {v - 3:g}" marker-end="url(#tip)"/>')
    for name, (x, y) in places.items():
        title, words = nodes[name]
        middle = x + _WIDTH / 2
        shapes.append(f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>')
        shapes.append(f'<text x="{middle:g}" y="{y + 21:g}" class="title">{escape(title)}</text>' if title else "")
        shapes.append(f'<text x="{middle:g}" y="{y + (40 if title else 31):g}">{escape(words)}</text>')
    height = len(rows) * (_HEIGHT + _RISE) - _RISE + 2
    words = "; ".join(f"{title or text}" for title, text in nodes.values())
    tip = '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    return (
        f'<figure class="flowchart"><svg viewBox="0 0 {width:g} {height}" role="img" aria-label="{escape(words)}">'
        f'{tip}<path d="M0 0L8 4L0 8z"/></marker></defs>{"".join(shapes)}</svg></figure>\n'
    )
