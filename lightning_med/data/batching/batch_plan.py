"""Which rows form which batch: by token budget, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

import heapq

import numpy as np


def plan_batches(lengths: np.ndarray, budget: int, order: np.ndarray) -> list[np.ndarray]:
    """Rows cut into batches, in the given order, none over the budget unless a single row is.

    Args:
        lengths: `[rows]`, tokens of each row.
        budget: Tokens a batch may hold.
        order: Row numbers, usually a permutation.

    Returns:
        Row numbers of each batch, those of `order` end to end.
    """
    if len(order) == 0:
        return []
    ends = np.cumsum(lengths[order])
    starts, first = [0], 0
    while True:
        taken = ends[first - 1] if first else 0
        after = int(np.searchsorted(ends, taken + budget, side="right"))
        first = max(after, first + 1)
        if first >= len(order):
            return np.split(order, starts[1:])
        starts.append(first)


def count_batches(tokens: int, budget: int, longest: int, ranks: int = 1) -> int:
    """Batches, a multiple of `ranks`, into which `dealt` surely cuts so many tokens without going over the budget.

    Dealt out evenly, the fullest batch holds at most `(tokens - longest) / parts + longest` (Graham, 1969). A budget
    below two of the longest rows counts as two: each batch must get a row.
    """
    needed = 1 if tokens <= budget else -(-(tokens - longest) // max(budget - longest, longest))
    return -(-needed // ranks) * ranks


def plan_steps(
    lengths: np.ndarray, budget: int, order: np.ndarray, step: int, longest: int, ranks: int = 1
) -> list[np.ndarray]:
    """Rows cut into optimizer steps, and these into batches: `parts(step, …)` each, the last step maybe fewer.

    A step's rows depend on `order` and `step` alone, so that the machine's memory does not change what is learned.

    Args:
        lengths: `[rows]`, tokens of each row.
        budget: Tokens a batch may hold; it gets no more than that, or than twice `longest` where that is more.
        order: Row numbers, usually a permutation.
        step: Tokens a step may hold, at least `longest`; it falls short of it by less than its next row, the last of
            all by what is missing.
        longest: Tokens no row has more of.
        ranks: Processes that share a step: its batches are a multiple of them.

    Returns:
        Row numbers of each batch; none is empty unless a step has fewer rows than there are ranks.
    """
    usual = count_batches(step, budget, longest, ranks)
    steps = plan_batches(lengths, step, order)
    batches: list[np.ndarray] = []
    for rows in steps[:-1]:
        batches += balance(rows, lengths, usual)
    for rows in steps[-1:]:
        batches += balance(rows, lengths, count_batches(int(lengths[rows].sum()), budget, longest, ranks))
    return batches


def balance_last_step(
    batches: list[np.ndarray], lengths: np.ndarray, budget: int, step: int, ranks: int
) -> list[np.ndarray]:
    """Batches of which every rank gets equally many in every step: the last step's rows are dealt anew where needed.

    No row is dropped or repeated; where a step has fewer rows than ranks, some batches are empty.

    Args:
        step: Batches of an optimizer step, over all ranks.
    """
    last = len(batches) % step or step
    if not batches or last % ranks == 0:
        return batches
    rows = np.concatenate(batches[-last:])
    needed = max(last, count_batches(int(lengths[rows].sum()), budget, int(lengths[rows].max())))
    return batches[:-last] + balance(rows, lengths, -(-needed // ranks) * ranks)


def balance(rows: np.ndarray, lengths: np.ndarray, count: int) -> list[np.ndarray]:
    """Rows in so many parts of nearly equal tokens: the longest first, each to the part that has least."""
    if count == 1:
        return [rows]
    owner = np.empty(len(rows), dtype=np.int64)
    filled = [(0, part) for part in range(count)]
    sizes = lengths[rows]
    for place in np.argsort(-sizes, kind="stable"):
        tokens, part = filled[0]
        owner[place] = part
        heapq.heapreplace(filled, (tokens + int(sizes[place]), part))
    return [rows[owner == part] for part in range(count)]


def shuffle_rows(rows: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch: a permutation that (seed, epoch) alone decides."""
    return np.random.default_rng([abs(seed), epoch]).permutation(rows)


def repeat_by_weight(order: np.ndarray, weights: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """An epoch's order in which each row stands as often as its weight says, on average over the epochs.

    Whole parts are repetitions; what is left of a weight is drawn anew each epoch, by (seed, epoch) alone.

    Args:
        order: A permutation of the rows.
        weights: `[rows]`, 0 or more.
    """
    random = np.random.default_rng([abs(seed), epoch, 1])
    times = np.floor(weights).astype(np.int64)
    times += random.random(len(weights)) < weights - times
    return random.permutation(np.repeat(order, times[order])) if times.max(initial=0) > 1 else order[times[order] > 0]
