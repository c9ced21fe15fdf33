"""Random draws of groups, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CELLS = 2**20  # of a block, [draws, groups]: 8 MiB; three of that size are alive at once


def draw_counts(groups: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Draws groups with replacement, as many as there are: how often each is in a sample.

    Yields:
        Blocks `[some draws, groups]`, float64.
    """
    random = np.random.default_rng([abs(seed), 0])
    for size in _split(groups, draws):
        drawn = random.integers(0, groups, (size, groups))
        drawn += np.arange(size)[:, None] * groups
        yield np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups).astype(np.float64)


def draw_swaps(groups: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Draws whether the two models of a pair are swapped in a group, each with probability one half.

    Yields:
        Blocks `[some draws, groups]`, float64, 0 or 1.
    """
    random = np.random.default_rng([abs(seed), 1])
    for size in _split(groups, draws):
        bits = np.frombuffer(random.bytes(size * (-(-groups // 8))), np.uint8).reshape(size, -1)
        yield np.unpackbits(bits, axis=1, count=groups).astype(np.float64)


def _split(groups: int, draws: int) -> Iterator[int]:
    """Yields the sizes of the blocks; they depend on nothing else, and so neither do the draws."""
    size = max(1, CELLS // groups)
    for start in range(0, draws, size):
        yield min(size, draws - start)
