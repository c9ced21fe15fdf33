"""What reading and cleaning did to the rows, in figures for the data report."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from lightning_med.data.cleaning.cleaner import EXAMPLES
from lightning_med.data.cleaning.cleaning_rules import DUPLICATE, RULES
from lightning_med.data.preparation.clean_chunk import Chunk
from lightning_med.data.preparation.recipe import Recipe
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.privacy import mask as private

_SHOWN_OPENINGS = 15
_MAX_OPENINGS = 100_000  # different openings counted before the rare ones are forgotten


class CleanCounts:
    """Counts what became of the rows, chunk by chunk.

    Args:
        names: Of the files; kept as an attribute.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._rows_in: Counter[int] = Counter()  # by file
        self._counts: Counter[str] = Counter()  # by rule
        self._private: Counter[str] = Counter()  # by kind
        self._examples: dict[str, list[dict[str, Any]]] = {}
        self._shortened = 0
        self._openings = Openings()

    def add(self, file: int, chunk: Chunk) -> None:
        """Counts a chunk of a file."""
        self._rows_in[file] += chunk.rows_in
        self._counts.update(chunk.counts)
        self._private.update(chunk.private)
        self._shortened += chunk.shortened
        self._openings.add(chunk.openings)
        for rule, examples in chunk.examples.items():
            known = self._examples.setdefault(rule, [])
            known += [{"source": self.names[file], **example} for example in examples[: EXAMPLES - len(known)]]

    def add_duplicates(self, count: int) -> None:
        """Counts conversations that repeat an earlier one."""
        self._counts[DUPLICATE] += count

    @property
    def rows_in(self) -> int:
        """Rows read."""
        return sum(self._rows_in.values())

    def list_dropped(self, recipe: Recipe) -> list[str]:
        """Names each rule that dropped rows, with their number."""
        return [f"{count} {rule}" for rule, count in self._counts.items() if count and recipe.rules[rule]]

    def report(self, recipe: Recipe, kept_files: np.ndarray, bad: BadRows, notes: list[str]) -> dict[str, Any]:
        """Returns what was read, dropped, repaired and replaced.

        Args:
            recipe: The rules that were on.
            kept_files: `[kept]`, the file of each conversation that is kept.
            bad: Rows that could not be read.
            notes: What of the files was not used.
        """
        rows_out = np.bincount(kept_files, minlength=len(self.names))
        return {
            "rows_in": self.rows_in + bad.count,
            "rows_out": len(kept_files),
            "rules": {name: self._counts[name] for name in recipe.rules},
            "effects": _name_effects(recipe.rules),
            "examples": self._examples,
            "bad_rows": bad.count,
            "bad_row_places": bad.places,
            "shortened": self._shortened,
            "notes": notes,
            "sources": [
                {"name": name, "rows_in": self._rows_in[file], "rows_out": int(rows_out[file])}
                for file, name in enumerate(self.names)
            ],
            "private": {kind: self._private[kind] for kind in private.KINDS} if recipe.private_data else {},
            "openings": self._openings.rank(),
            "files": self.names,
        }


def _name_effects(rules: dict[str, bool]) -> dict[str, str]:
    """By rule: whether it dropped rows, mended texts, only counted or was off."""
    drops = {rule.name: rule.effect == "drops" for rule in RULES}
    effects = {}
    for name, on in rules.items():
        if on:
            effects[name] = "dropped" if drops.get(name, True) else "mended"
        else:
            effects[name] = "counted" if drops.get(name) else "off"
    return effects


class Openings:
    """Counts how answers begin, in bounded memory: openings that stay rare are forgotten."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, counts: Counter[str]) -> None:
        """Adds the openings of a chunk."""
        self._counts += counts
        if len(self._counts) > _MAX_OPENINGS:
            self._counts = Counter(dict(self._counts.most_common(_MAX_OPENINGS // 5)))

    def rank(self) -> list[dict[str, Any]]:
        """Lists the most frequent openings, with private data replaced and without those that occur once."""
        masked: Counter[str] = Counter()
        for text, count in self._counts.most_common(2 * _SHOWN_OPENINGS):
            masked[private.mask(text, answer=True)[0]] += count
        ranked = sorted(masked.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_OPENINGS]
        return [{"text": text, "count": count} for text, count in ranked if text and count > 1]
