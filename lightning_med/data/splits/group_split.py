"""Assigns groups of rows to training, validation and test: the same for the same seed, on any machine.

The side of a group is decided by its founders, rows that are linked to no earlier row. A row added at the end joins a
group or founds one and moves no other row; unless it joins two groups: then the joined group goes to test if either was
there, else to validation if either was there.
"""

from __future__ import annotations

import numpy as np

from lightning_med.data.splits.row_groups import Groups
from lightning_med.data.splits.word_hashes import mix_bits
from lightning_med.utils.errors import InputError

SPLITS = ("train", "validation", "test")


def place_groups(keys: np.ndarray, seed: int) -> np.ndarray:
    """`[keys]`, float64 in [0, 1): a hash of key and seed, so no key's place depends on another key."""
    mixed = mix_bits(keys ^ mix_bits(np.array([seed % 2**64], np.uint64)))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53


def assign_splits(
    groups: Groups, keys: np.ndarray, seed: int, test_fraction: float, val_fraction: float
) -> tuple[np.ndarray, int]:
    """Assigns each row to a split.

    Groups with the lowest places go to test, the next to validation, the rest to training. Shares are exact in
    expectation only (112,165 rows: within 0.3 points). In a table so small that a side would stay empty, each side gets
    its share of the ranked groups, and at least one group.

    Args:
        groups: Which rows belong together.
        keys: `[rows]`, uint64, hashes of the rows' questions as they were read, or of their patients.
        seed: Chooses the sides.
        test_fraction, val_fraction: Shares of the groups.

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
    wanted = {0, *(2,) * (test_fraction > 0), *(1,) * (val_fraction > 0)}
    if not wanted <= set(sides.tolist()):
        first = np.unique(owner, return_index=True)[1]
        sides, moved = _split_by_rank(places[first], keys[groups.founders][first], test_fraction, val_fraction), 0
    if 0 not in sides:
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
