"""The name that a misspelt one was probably meant to be. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that is meant, or `None` where none is near.

    A name that only lacks its section or has the wrong one (`lr`, `trainer.lr`) is the setting of that last part.
    Others differ by at most a third of their letters; of two that are equally near, the one that shares longer parts
    is taken.
    """
    candidates = sorted(set(known))
    same_leaf = [one for one in candidates if one.rpartition(".")[2] == name.rpartition(".")[2]]
    if name not in candidates and len(same_leaf) == 1:
        return same_leaf[0]
    distances = {one: _count_edits(name.lower(), one.lower()) for one in candidates}
    near = [one for one, edits in distances.items() if edits <= max(1, max(len(name), len(one)) // 3)]
    return min(near, key=lambda one: (distances[one], -SequenceMatcher(None, name, one).ratio()), default=None)


def suggest(name: str, known: Iterable[str], otherwise: str, prefix: str = "") -> str:
    """Returns the hint "Did you mean …?", or `otherwise` where no known name is near."""
    near = find_nearest(name, known)
    return f"Did you mean {prefix}{near}?" if near else otherwise


def _count_edits(one: str, other: str) -> int:
    """Counts the letters to insert, delete, replace or swap with their neighbour (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, row = row, [i]
        for j, its in enumerate(other, 1):
            edits = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != its))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == its:
                edits = min(edits, before[j - 2] + 1)
            row.append(edits)
        before = above
    return row[-1]
