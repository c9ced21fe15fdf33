"""Assigns groups of rows to training, validation and test: the same for the same seed, on any machine.

The side of a group is decided by its founders, rows that are linked to no earlier row. A row added at the end joins a
group or founds one and moves no other row; unless it joins two groups: then the joined group goes to test if either was
there, else to validation if either was there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightning_med.data.splits.row_groups import Groups
from lightning_med.data.splits.word_hashes import mix_bits
from lightning_med.utils.errors import InputError

SPLITS = ("train", "validation", "test")
BY_FRACTIONS = -1  # instead of an own split's index
LEFT_OUT = -1  # instead of a side's index


def place_groups(keys: np.ndarray, seed: int) -> np.ndarray:
    """`[keys]`, float64 in [0, 1): a hash of key and seed, so no key's place depends on another key."""
    mixed = mix_bits(keys ^ mix_bits(np.array([seed % 2**64], np.uint64)))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53


def assign_splits(
    groups: Groups,
    keys: np.ndarray,
    seed: int,
    test_fraction: float,
    val_fraction: float,
    fill: bool = True,
    trained: bool = False,
) -> tuple[np.ndarray, int]:
    """Assigns each row to a split.

    Groups with the lowest places go to test, the next to validation, the rest to training. Shares are exact in
    expectation only (112,165 rows: within 0.3 points). In a table so small that a side would stay empty, each side gets
    its share of the ranked groups, and at least one group.

    Args:
        groups: Which rows belong together.
        keys: `[rows]`, uint64, hashes of the rows' questions as they were read, or of their patients.
        seed: Chooses the sides.
        test_fraction, val_fraction: Shares of the groups; where they are all, none is left for training.
        fill: Fill every side, however few groups there are.
        trained: Whether there are other rows to train on, so that training need not be filled.

    Returns:
        `[rows]`, int8, indices into `SPLITS`; and the number of founders whose own side is not that of their group.

    Raises:
        InputError: There are too few groups to fill every side.
    """
    places = place_groups(keys[groups.founders], seed)
    owner = groups.labels[groups.founders]
    own = np.where(places < test_fraction, 2, np.where(places < test_fraction + val_fraction, 1, 0)).astype(np.int8)
    sides = np.zeros(groups.count, dtype=np.int8)
    np.maximum.at(sides, owner, own)
    moved = int((sides[owner] != own).sum())
    to_train = test_fraction + val_fraction < 1 and not trained
    wanted = {*(0,) * to_train, *(2,) * (test_fraction > 0), *(1,) * (val_fraction > 0)}
    if fill and not wanted <= set(sides.tolist()):
        first = np.unique(owner, return_index=True)[1]
        sides, moved = _split_by_rank(places[first], keys[groups.founders][first], test_fraction, val_fraction), 0
    if fill and to_train and 0 not in sides:
        raise InputError(
            f"The table holds {groups.count} different question{'s' * (groups.count != 1)} after cleaning: too few to"
            " split into training, validation and test.",
            "Three is the minimum; a model learns something from a few hundred.",
        )
    return sides[groups.labels], moved


def _split_by_rank(places: np.ndarray, keys: np.ndarray, test_fraction: float, val_fraction: float) -> np.ndarray:
    """`[groups]`, int8: exact shares of the ranked groups, for tables of a few rows."""
    sides = np.zeros(len(places), dtype=np.int8)
    ranked = np.lexsort((keys, places))
    done = 0
    for side, share in ((2, test_fraction), (1, val_fraction)):
        count = max(round(share * len(ranked)), 1) if share > 0 else 0
        sides[ranked[done : done + count]] = side
        done += count
    return sides


@dataclass(frozen=True)
class OwnAssignment:
    """The sides of rows of which some are of an owner's own splits.

    Attributes:
        sides: `[rows]`, int8, indices into `SPLITS`; `LEFT_OUT` for rows to train on in a group with a row of an own
            validation or test split.
        moved: See `assign_splits`.
        validation_in_test: Rows of the own validation split in a group with a row of the own test split.
    """

    sides: np.ndarray
    moved: int
    validation_in_test: int


def keep_own_splits(
    groups: Groups, keys: np.ndarray, own: np.ndarray, seed: int, test_fraction: float, val_fraction: float
) -> OwnAssignment:
    """Assigns each row of an own split to it, and draws the sides of the others.

    Validation and test stay as they are, to the row. Rows of no own split are split by both fractions, but go with
    training rows of their group. A split that the owner has not made is cut from the own training rows by its fraction,
    where there are no such rows to take it from.

    Args:
        groups, keys, seed, test_fraction, val_fraction: See `assign_splits`.
        own: `[rows]`, int8, indices into `SPLITS`; `BY_FRACTIONS` for rows of no own split.

    Raises:
        InputError: See `assign_splits`; or every training row would be left out.
    """
    held = own > 0
    holding, training, testing = (
        np.bincount(groups.labels, weights=rows, minlength=groups.count) > 0 for rows in (held, own == 0, own == 2)
    )
    sides = np.where(held, own, LEFT_OUT).astype(np.int8)
    own_rows, free = (np.flatnonzero((~holding & chosen)[groups.labels]) for chosen in (training, ~training))
    missing = {1, 2} - set(own.tolist())
    test_missing, val_missing = (
        share * (side in missing and not len(free)) for side, share in ((2, test_fraction), (1, val_fraction))
    )
    moved = 0
    trained = len(own_rows) > 0
    for rows, test, validation, fill, beside in (
        (own_rows, test_missing, val_missing, True, False),
        (free, test_fraction, val_fraction, bool(missing) or not trained, trained),
    ):
        if len(rows):
            part = _select_groups(groups, rows)
            sides[rows], more = assign_splits(part, keys[rows], seed, test, validation, fill, beside)
            moved += more
    if (own <= 0).any() and (sides == LEFT_OUT).sum() == (own <= 0).sum():
        raise InputError(
            "Every training row repeats a question of the own validation or test split.",
            "Make other splits; or have them made: --data.source '[{path: PATH, split: mixed}]'",
        )
    return OwnAssignment(sides, moved, int(testing[groups.labels[own == 1]].sum()))


def _select_groups(groups: Groups, rows: np.ndarray) -> Groups:
    """Whole groups alone, as if there were no other; `rows` in order."""
    labels = np.unique(groups.labels[rows], return_inverse=True)[1]
    return Groups(labels, np.flatnonzero(np.isin(rows, groups.founders)), groups.near_pairs)
