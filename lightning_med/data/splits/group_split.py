"""Train, validation, test: what belongs together stands on one side, the same for the same seed on any machine.

Rows that share a question, nearly share one, share a long answer with a similar question, or come from one patient
form a group. A group's side is decided by its founder: the row that, when it came, had no kin among the rows before it.
A row added at the end joins a group or founds one, and moves no other row; unless it joins two groups: then the joined
group goes to test if either was there, else to validation if either was there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightning_med.data.splits.near_duplicates import (
    ShingleSets,
    find_similar_pairs,
    label_components,
    mix_bits,
    salt_sets,
)
from lightning_med.utils.errors import InputError

SPLITS = ("train", "validation", "test")
JACCARD = 0.8  # of the questions' shingles, from which two are nearly the same
JACCARD_SHARED_ANSWER = 0.5  # where a long answer is the same too


@dataclass(frozen=True)
class Groups:
    """Which rows belong together.

    Attributes:
        labels: `[rows]`, int64, numbered from 0 in the order in which the groups begin.
        founders: Rows that had no kin before them.
        near_pairs: Pairs of different questions found nearly the same.
    """

    labels: np.ndarray
    founders: np.ndarray
    near_pairs: int

    @property
    def count(self) -> int:
        return int(self.labels.max(initial=-1)) + 1


def group_rows(questions: np.ndarray, patients: np.ndarray, answers: np.ndarray, sets: ShingleSets | None) -> Groups:
    """Groups rows by kinship.

    Args:
        questions: `[rows]`, uint64, equal where two rows ask the same.
        patients: `[rows]`, uint64, equal where two rows come from one patient; 0 where that is not known.
        answers: `[rows]`, uint64, equal where two rows share a long answer; 0 where the answer is short.
        sets: The questions' shingles; `None` to group by equal questions alone.
    """
    same = _link_to_first(questions)
    links = [same, _link_to_first(patients, patients != 0)]
    near_pairs = 0
    if sets is not None:
        first = np.setdiff1d(np.arange(len(questions)), same[:, 1])
        pairs = first[find_similar_pairs(sets.select(first), JACCARD)]
        shared = np.flatnonzero(_find_shared(answers))
        salted = salt_sets(sets.select(shared), answers[shared])
        links += [pairs, shared[find_similar_pairs(salted, JACCARD_SHARED_ANSWER)]]
        near_pairs = len(pairs)
    edges = np.concatenate(links)
    founder = np.ones(len(questions), dtype=bool)
    founder[edges.max(axis=1)] = False
    labels = label_components(len(questions), edges)
    return Groups(np.unique(labels, return_inverse=True)[1], np.flatnonzero(founder), near_pairs)


def _find_shared(keys: np.ndarray) -> np.ndarray:
    """`[rows]`, bool: whose key, other than 0, another row has too."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return (counts[inverse] > 1) & (keys != 0)


def _link_to_first(keys: np.ndarray, wanted: np.ndarray | None = None) -> np.ndarray:
    """`[pairs, 2]`: each row after the first with its key, behind that first."""
    rows = np.arange(len(keys)) if wanted is None else np.flatnonzero(wanted)
    _, first, inverse = np.unique(keys[rows], return_index=True, return_inverse=True)
    head = rows[first[inverse]]
    return np.stack([head, rows], axis=1)[head != rows]


def place_groups(keys: np.ndarray, seed: int) -> np.ndarray:
    """`[keys]`, float64 in [0, 1): a hash of key and seed, so that no key's place depends on another's."""
    mixed = mix_bits(keys ^ mix_bits(np.array([seed % 2**64], np.uint64)))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53


def assign_splits(
    groups: Groups, keys: np.ndarray, seed: int, test_fraction: float, val_fraction: float
) -> tuple[np.ndarray, int]:
    """The side of each row, as an index into `SPLITS`, and how many groups changed sides to join another.

    The lowest places go to test, the next to validation, the rest to training. Shares are exact in expectation only
    (112,165 rows: within 0.3 points). In a table so small that a side would stay empty each gets its share by rank, one
    group at the least.

    Args:
        groups: What belongs together.
        keys: `[rows]`, uint64, of the rows' questions as they were read, or of their patients.
        seed: Chooses the sides.
        test_fraction, val_fraction: Shares of the groups.

    Raises:
        InputError: There are too few groups to fill every side.
    """
    where = place_groups(keys[groups.founders], seed)
    owner = groups.labels[groups.founders]
    own = np.where(where < test_fraction, 2, np.where(where < test_fraction + val_fraction, 1, 0)).astype(np.int8)
    sides = np.zeros(groups.count, dtype=np.int8)
    np.maximum.at(sides, owner, own)
    moved = int((sides[owner] != own).sum())
    wanted = {0, *(2,) * (test_fraction > 0), *(1,) * (val_fraction > 0)}
    if not wanted <= set(sides.tolist()):
        first = np.unique(owner, return_index=True)[1]
        sides, moved = _split_by_rank(where[first], keys[groups.founders][first], test_fraction, val_fraction), 0
    if 0 not in sides:
        raise InputError(
            f"The table holds {groups.count} different question{'s' * (groups.count != 1)} after cleaning: too few to"
            " split into training, validation and test.",
            "Three are the least, and a few hundred the least that teaches anything.",
        )
    return sides[groups.labels], moved


def _split_by_rank(where: np.ndarray, keys: np.ndarray, test_fraction: float, val_fraction: float) -> np.ndarray:
    """For tables of a few rows: exact shares of the ranked groups."""
    sides = np.zeros(len(where), dtype=np.int8)
    ranked = np.lexsort((keys, where))
    done = 0
    for side, share in ((2, test_fraction), (1, val_fraction)):
        count = max(round(share * len(ranked)), 1) if share > 0 else 0
        sides[ranked[done : done + count]] = side
        done += count
    return sides
