"""Batches by token budget, in an order that is a function of (seed, epoch) alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_med.data.batching.collate import Batch, collate_flat, collate_padded, make_idle
from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.tokenization.encoder import ANSWER, QUESTION


class BatchDataset(Dataset[Batch]):
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
        batch = self._built(rows) if len(rows) else make_idle(self._built(np.array([np.argmin(self.store.lengths)])))
        answers, questions = (int(count) for count in self._totals[index])
        return {**batch, "window_answers": answers, "window_questions": questions}

    def _built(self, rows: np.ndarray) -> Batch:
        return (
            collate_flat(self.store, rows)
            if self.padded is None
            else collate_padded(self.store, rows, self.padded, self.pad_id)
        )


class ResumableSampler(Sampler[int]):
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


class TimedLoader(DataLoader[Batch]):
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


def make_loader(
    batches: BatchDataset, done: int = 0, num_workers: int = 0, rank: int = 0, ranks: int = 1
) -> TimedLoader:
    """A loader over a rank's share of prepared batches. A batch is a function of its index: no state is in workers."""
    return TimedLoader(
        batches,
        batch_size=None,
        sampler=ResumableSampler(len(batches), done, rank, ranks),
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
    )
