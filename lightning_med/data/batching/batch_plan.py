"""Which rows form which batch: by token budget, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

import heapq

import numpy as np


def plan_batches(lengths: np.ndarray, budget: int, order: np.ndarray) -> list[np.ndarray]:
    """Splits rows into batches, in the given order. No batch exceeds the budget unless a single row does.

    Args:
        lengths: `[rows]`, tokens of each row.
        budget: Tokens a batch may hold.
        order: Row numbers, usually a permutation.

    Returns:
        Row numbers of each batch; end to end they are `order`.
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
    """Returns how many batches `balance` needs so that none of them exceeds the budget.

    Greedy balancing fills no batch with more than `(tokens - longest) / batches + longest` tokens (Graham, *Bounds on
    Multiprocessing Timing Anomalies*, 1969). A budget below two of the longest rows counts as two: each batch must get
    a row.

    Args:
        tokens: Of all rows together.
        budget: Tokens a batch may hold.
        longest: Tokens of the longest row.
        ranks: The count is a multiple of it.
    """
    needed = 1 if tokens <= budget else -(-(tokens - longest) // max(budget - longest, longest))
    return -(-needed // ranks) * ranks


def plan_steps(
    lengths: np.ndarray, budget: int, order: np.ndarray, step: int, longest: int, ranks: int = 1
) -> list[np.ndarray]:
    """Splits rows into optimizer steps, and each step into equally many batches; the last step may have fewer.

    A step's rows depend on `order` and `step` alone. The machine's memory, through `budget`, does not change what a
    step learns.

    Args:
        lengths: `[rows]`, tokens of each row.
        budget: Tokens a batch may hold; at least twice `longest` is used.
        order: Row numbers, usually a permutation.
        step: Tokens a step may hold, at least `longest`.
        longest: Tokens of the longest row.
        ranks: Processes that share a step; its number of batches is a multiple of it.

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
    """Splits the last step's rows anew where ranks would get different numbers of batches in it.

    No row is dropped or repeated. Where a step has fewer rows than ranks, some batches are empty.

    Args:
        batches: Row numbers of each batch of an epoch.
        lengths: `[rows]`, tokens of each row.
        budget: Tokens a batch may hold.
        step: Batches of an optimizer step, over all ranks.
        ranks: Processes that train together.
    """
    last = len(batches) % step or step
    if not batches or last % ranks == 0:
        return batches
    rows = np.concatenate(batches[-last:])
    needed = max(last, count_batches(int(lengths[rows].sum()), budget, int(lengths[rows].max())))
    return batches[:-last] + balance(rows, lengths, -(-needed // ranks) * ranks)


def balance(rows: np.ndarray, lengths: np.ndarray, count: int) -> list[np.ndarray]:
    """Splits rows into `count` batches of nearly equal tokens: longest first, each to the batch that has least."""
    if count == 1:
        return [rows]
    owner = np.empty(len(rows), dtype=np.int64)
    filled = [(0, batch) for batch in range(count)]  # a heap of (tokens so far, batch)
    sizes = lengths[rows]
    for index in np.argsort(-sizes, kind="stable"):
        tokens, batch = filled[0]
        owner[index] = batch
        heapq.heapreplace(filled, (tokens + int(sizes[index]), batch))
    return [rows[owner == batch] for batch in range(count)]


def shuffle_rows(rows: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of an epoch: a permutation that (seed, epoch) alone decides."""
    return np.random.default_rng([abs(seed), epoch]).permutation(rows)


def repeat_by_weight(order: np.ndarray, weights: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Returns an epoch's order in which each row stands as often as its weight says, on average over the epochs.

    The whole part of a weight is a number of repetitions; its fraction is a probability, drawn anew each epoch by
    (seed, epoch) alone.

    Args:
        order: A permutation of the rows.
        weights: `[rows]`, 0 or more.
        seed, epoch: Decide the draw and the new permutation.
    """
    random = np.random.default_rng([abs(seed), epoch, 1])
    times = np.floor(weights).astype(np.int64)
    times += random.random(len(weights)) < weights - times
    return random.permutation(np.repeat(order, times[order])) if times.max(initial=0) > 1 else order[times[order] > 0]
