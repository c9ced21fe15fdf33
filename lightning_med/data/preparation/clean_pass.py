"""The first pass: every row is read, cleaned and described; its text goes to the spool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from lightning_med.data.cleaning.cleaner import EXAMPLES
from lightning_med.data.cleaning.cleaning_rules import DUPLICATE, RULES
from lightning_med.data.preparation.clean_chunk import Chunk, Steps, clean_chunk
from lightning_med.data.preparation.recipe import Files, Recipe
from lightning_med.data.preparation.report_figures import Openings
from lightning_med.data.preparation.text_spool import Spool
from lightning_med.data.preparation.worker_pool import WorkerPool
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.source import name_files, read_frames
from lightning_med.privacy import mask as private

Tell = Callable[[str, int, int], None]  # what is being done, how much is done, of how much
_ARRAYS = ("turns", "rows", "digests", "questions", "origins", "patients", "answers")


@dataclass
class CleanRows:
    """What is known of all conversations once they are read and clean; their text lies in the spool.

    Arrays are by conversation, in the order of the files; see `Chunk`. `files` numbers their files.
    """

    names: list[str]
    owners: list[int]  # by file, the number of its source
    files: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    turns: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    digests: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.uint64))
    questions: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    origins: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    patients: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    answers: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    rows_in: Counter[int] = field(default_factory=Counter)  # by file
    counts: Counter[str] = field(default_factory=Counter)
    private: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    shortened: int = 0
    openings: Openings = field(default_factory=Openings)

    def add(self, file: int, chunk: Chunk) -> None:
        """Counts what a chunk brought; its arrays are joined at the end."""
        self.rows_in[file] += chunk.rows_in
        self.counts.update(chunk.counts)
        self.private.update(chunk.private)
        self.shortened += chunk.shortened
        self.openings.add(chunk.openings)
        for rule, found in chunk.examples.items():
            known = self.examples.setdefault(rule, [])
            known += [{"source": self.names[file], **example} for example in found[: EXAMPLES - len(known)]]

    def report(self, recipe: Recipe, kept: np.ndarray, bad: BadRows) -> dict[str, Any]:
        """What was read, dropped, mended and replaced."""
        out = np.bincount(self.files[kept], minlength=len(self.names))
        drops = {rule.name: rule.effect == "drops" for rule in RULES}
        effects = {}
        for name, on in recipe.rules.items():
            effects[name] = (
                ("dropped" if drops.get(name, True) else "mended") if on else "counted" if drops.get(name) else "off"
            )
        return {
            "rows_in": sum(self.rows_in.values()) + bad.count,
            "rows_out": len(kept),
            "rules": {name: self.counts[name] for name in recipe.rules},
            "effects": effects,
            "examples": self.examples,
            "bad_rows": bad.count,
            "bad_row_places": bad.places,
            "shortened": self.shortened,
            "sources": [
                {"name": name, "rows_in": self.rows_in[file], "rows_out": int(out[file])}
                for file, name in enumerate(self.names)
            ],
            "private": {kind: self.private[kind] for kind in private.KINDS} if recipe.private_data else {},
            "openings": self.openings.most(),
            "files": self.names,
        }


def read_rows(recipe: Recipe, files: Files, bad: BadRows, spool: Spool, pool: WorkerPool, tell: Tell) -> CleanRows:
    """Reads and cleans all files.

    Args:
        recipe: How.
        files: Each with the number of its source.
        bad: What to do with rows that cannot be read.
        spool: Takes the text.
        pool: Does the cleaning.
        tell: Hears of progress.
    """
    read = CleanRows(name_files([file for _, file in files]), [number for number, _ in files])
    steps = Steps(recipe.rules, recipe.private_data, recipe.near_duplicates)
    handed: list[int] = []  # the file of each frame, in the order in which its chunk comes back

    def frames() -> Iterator[pd.DataFrame]:
        for index, (number, file) in enumerate(files):
            for frame in read_frames(recipe.sources[number], file, bad):
                handed.append(index)
                yield frame

    arrays: dict[str, list[np.ndarray]] = {name: [getattr(read, name)] for name in _ARRAYS}
    owners = [read.files]
    for index, chunk in enumerate(pool.ordered(partial(clean_chunk, steps=steps), frames())):
        read.add(handed[index], chunk)
        spool.add(chunk)
        for name, parts in arrays.items():
            parts.append(getattr(chunk, name))
        owners.append(np.full(len(chunk.rows), handed[index]))
        tell(f"reading and cleaning, {sum(read.rows_in.values()):,} rows", 0, 0)
    spool.finish()
    for name, parts in arrays.items():
        setattr(read, name, np.concatenate(parts))
    read.files = np.concatenate(owners)
    return read


def find_unrepeated(recipe: Recipe, read: CleanRows) -> np.ndarray:
    """The conversations that repeat no earlier one, by number; all of them where the rule is off."""
    repeated = (
        pd.DataFrame(read.digests).duplicated().to_numpy()
        if recipe.rules[DUPLICATE]
        else np.zeros(len(read.rows), bool)
    )
    read.counts[DUPLICATE] = int(repeated.sum())
    return np.flatnonzero(~repeated)
