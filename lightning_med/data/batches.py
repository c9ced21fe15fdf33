"""Batches by token budget, in an order that is a function of (seed, epoch) alone."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_med.data.store import TokenStore
from lightning_med.data.tokens import ANSWER, QUESTION

Batch = dict[str, Any]


def plan(lengths: np.ndarray, budget: int, order: np.ndarray) -> list[np.ndarray]:
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


def parts(tokens: int, budget: int, longest: int, ranks: int = 1) -> int:
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
    usual = parts(step, budget, longest, ranks)
    steps = plan(lengths, step, order)
    batches: list[np.ndarray] = []
    for rows in steps[:-1]:
        batches += dealt(rows, lengths, usual)
    for rows in steps[-1:]:
        batches += dealt(rows, lengths, parts(int(lengths[rows].sum()), budget, longest, ranks))
    return batches


def shared(batches: list[np.ndarray], lengths: np.ndarray, budget: int, step: int, ranks: int) -> list[np.ndarray]:
    """Batches of which every rank gets equally many in every step: the last step's rows are dealt anew where needed.

    No row is dropped or repeated; where a step has fewer rows than ranks, some batches are empty.

    Args:
        step: Batches of an optimizer step, over all ranks.
    """
    last = len(batches) % step or step
    if not batches or last % ranks == 0:
        return batches
    rows = np.concatenate(batches[-last:])
    needed = max(last, parts(int(lengths[rows].sum()), budget, int(lengths[rows].max())))
    return batches[:-last] + dealt(rows, lengths, -(-needed // ranks) * ranks)


def dealt(rows: np.ndarray, lengths: np.ndarray, count: int) -> list[np.ndarray]:
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


def shuffled(rows: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch: a permutation that (seed, epoch) alone decides."""
    return np.random.default_rng([abs(seed), epoch]).permutation(rows)


def weighted(order: np.ndarray, weights: np.ndarray, seed: int, epoch: int) -> np.ndarray:
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


class Batches(Dataset[Batch]):
    """The batches of one epoch, each a function of its index.

    Every batch carries the target counts of its accumulation window, so that a loss summed over the window and divided
    by them is a mean over tokens, not a mean of means.

    Args:
        store: The tokens.
        plan: Row numbers of each batch.
        window: Batches that make one optimizer step.
        padded: `None` for flat batches `[1, tokens]`; a length for batches `[rows, length]`.
        pad_id: The id that fills padded batches.
    """

    def __init__(
        self, store: TokenStore, plan: list[np.ndarray], window: int = 1, padded: int | None = None, pad_id: int = 0
    ) -> None:
        self.store, self.plan, self.padded, self.pad_id = store, plan, padded, pad_id
        counts = np.array([[store.targets[part][rows].sum() for part in (ANSWER, QUESTION)] for rows in plan])
        first = np.arange(0, len(plan), window)
        totals = np.add.reduceat(counts, first) if len(plan) else counts
        self._totals = np.repeat(totals, window, axis=0)[: len(plan)].astype(np.int64)

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        rows = self.plan[index]
        batch = self._built(rows) if len(rows) else idle(self._built(np.array([np.argmin(self.store.lengths)])))
        answers, questions = (int(count) for count in self._totals[index])
        return {**batch, "window_answers": answers, "window_questions": questions}

    def _built(self, rows: np.ndarray) -> Batch:
        return flat(self.store, rows) if self.padded is None else pad(self.store, rows, self.padded, self.pad_id)


class Onward(Sampler[int]):
    """A rank's indices in order, each `ranks`-th; its length stays that of the whole epoch, as a resumed loop expects.

    Args:
        total: Indices of all ranks, a multiple of `ranks`.
        done: How many of its own a rank has behind it.
    """

    def __init__(self, total: int, done: int = 0, rank: int = 0, ranks: int = 1) -> None:
        self.total, self.done, self.rank, self.ranks = total, done, rank, ranks

    def __len__(self) -> int:
        return self.total // self.ranks

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.done * self.ranks + self.rank, self.total, self.ranks))


class Loader(DataLoader[Batch]):
    """A loader that knows how long it was waited for.

    Attributes:
        waited: Seconds that the loop stood still for a batch, since someone last set it to 0.
    """

    waited = 0.0

    def __iter__(self) -> Any:
        batches = super().__iter__()
        while True:
            start = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - start
            yield batch


def loader(batches: Batches, done: int = 0, num_workers: int = 0, rank: int = 0, ranks: int = 1) -> Loader:
    """A loader over a rank's share of prepared batches. A batch is a function of its index: no state is in workers."""
    return Loader(
        batches,
        batch_size=None,
        sampler=Onward(len(batches), done, rank, ranks),
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
    )


def flat(store: TokenStore, rows: np.ndarray) -> Batch:
    """Consultations end to end in one row, without padding.

    Returns:
        `input_ids`, `position_ids`: `[1, tokens]`, int64; positions restart with each consultation.
        `boundaries`: tokens before each consultation and after the last, a list of `rows + 1` numbers.
        `offsets`: the same as a tensor, int32.
        With the entries of `_targets`, places counted in the flat row.
    """
    ids = [store.input_ids(row) for row in rows]
    boundaries = np.concatenate([[0], np.cumsum([len(i) for i in ids])])
    positions = np.concatenate([np.arange(len(i)) for i in ids])
    return {
        "input_ids": torch.from_numpy(np.concatenate(ids).astype(np.int64))[None],
        "position_ids": torch.from_numpy(positions)[None],
        "boundaries": boundaries.tolist(),
        "offsets": torch.from_numpy(boundaries.astype(np.int32)),
        **_targets(store, rows, ids, boundaries[:-1]),
    }


def pad(store: TokenStore, rows: np.ndarray, length: int, pad_id: int) -> Batch:
    """Consultations in rows of a common length, as the usual recipes have them; the loss is that of `flat`.

    Returns:
        `input_ids`, `attention_mask`: `[rows, length]`, int64.
        With the entries of `_targets`, places counted in the rows laid end to end.
    """
    ids = [store.input_ids(row) for row in rows]
    input_ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.int64)
    for line, content in enumerate(ids):
        input_ids[line, : len(content)] = content
        mask[line, : len(content)] = 1
    return {
        "input_ids": torch.from_numpy(input_ids),
        "attention_mask": torch.from_numpy(mask),
        **_targets(store, rows, ids, np.arange(len(rows)) * length),
    }


def idle(batch: Batch) -> Batch:
    """A batch from which nothing is learned and which counts nowhere: for a rank that has no row left in a step.

    It goes through the network all the same: the other ranks wait for its gradients, which are zero.
    """
    none = {name: batch[name][:0] for name in ("predict_at", "targets", "rows")}
    return {**batch, **none, "answers": 0, "answer_bytes": 0}


def _targets(store: TokenStore, rows: np.ndarray, ids: list[np.ndarray], starts: np.ndarray) -> Batch:
    """What is to be predicted, and from where: the answers' tokens first, then the questions'.

    Returns:
        `predict_at`: `[targets]`, the places whose hidden state predicts; one before the token itself.
        `targets`: `[targets]`, int64 ids.
        `answers`: how many of them belong to answers.
        `answer_bytes`: UTF-8 bytes of the answers.
        `rows`: the rows' numbers in the store.
    """
    places: dict[int, list[np.ndarray]] = {ANSWER: [], QUESTION: []}
    targets: dict[int, list[np.ndarray]] = {ANSWER: [], QUESTION: []}
    for row, content, start in zip(rows, ids, starts, strict=True):
        parts = store.parts(row)
        for part in (ANSWER, QUESTION):
            found = np.flatnonzero(parts[1:] == part)
            places[part].append(found + start)
            targets[part].append(content[found + 1])
    order = places[ANSWER] + places[QUESTION], targets[ANSWER] + targets[QUESTION]
    return {
        "predict_at": torch.from_numpy(np.concatenate(order[0])),
        "targets": torch.from_numpy(np.concatenate(order[1]).astype(np.int64)),
        "answers": sum(map(len, places[ANSWER])),
        "answer_bytes": int(store.answer_bytes[rows].sum()),
        "rows": rows.tolist(),
    }
