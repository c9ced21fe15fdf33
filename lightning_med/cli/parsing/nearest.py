"""The name that a misspelt one was probably meant to be. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that is meant, or `None` where none is near.

    A name that only lacks its section or has the wrong one (`lr`, `trainer.lr`) is the setting of that last part, also
    where that is misspelt. Others differ by at most two letters, or a third of the last part; of two that are equally
    near, the one that shares longer parts is taken.
    """
    candidates = sorted(set(known) - {name})
    leaf = name.rpartition(".")[2]
    same = [one for one in candidates if one.rpartition(".")[2] == leaf]
    if len(same) == 1:
        return same[0]
    limit = max(2 if len(name) > 3 else 1, len(leaf) // 3)
    edits = {one: _count_edits(name.lower(), one.lower()) for one in candidates}
    if "." not in name and len(name) > 3:
        edits = {one: min(found, _count_edits(name, one.rpartition(".")[2])) for one, found in edits.items()}
    near = [one for one in candidates if edits[one] <= limit]
    return min(near, key=lambda one: (edits[one], -SequenceMatcher(None, name, one).ratio()), default=None)


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
