"""Batches as a PyTorch dataset, a sampler that starts at any position, and a loader that measures waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, DistributedSampler, SequentialSampler

from lightning_med.data.batching.collate import Batch, collate_flat, collate_padded, make_idle
from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.tokenization.consultation import ANSWER, QUESTION


class BatchDataset(Dataset[Batch]):
    """The batches of one epoch; each is a function of its index alone.

    Every batch carries the target counts of its accumulation window. A loss summed over the window and divided by them
    is a mean over tokens, not a mean of means.

    Args:
        store: The tokens of a split.
        plan: Row numbers of each batch.
        window: Batches of an optimizer step, over all ranks.
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
        # A rank without a row takes the shortest one through the network and learns nothing from it.
        batch = (
            self._collate(rows) if len(rows) else make_idle(self._collate(np.array([np.argmin(self.store.lengths)])))
        )
        answers, questions = (int(count) for count in self._totals[index])
        return {**batch, "window_answers": answers, "window_questions": questions}

    def _collate(self, rows: np.ndarray) -> Batch:
        if self.padded is None:
            return collate_flat(self.store, rows)
        return collate_padded(self.store, rows, self.padded, self.pad_id)


class ResumableSampler(DistributedSampler[Any], SequentialSampler):
    """A rank's indices in order, every `ranks`-th, from a position on.

    Its length is that of the whole epoch, as a resumed loop expects. It is a `DistributedSampler` so that the trainer
    puts no sampler of its own over it, and a `SequentialSampler` so that it does not do so for `overfit_batches`.

    Args:
        dataset: Of all ranks; its length is a multiple of `ranks` for training.
        done: How many of its own indices a rank has done.
        rank: This process's number.
        ranks: Processes that train together.
        planned: The number of which `__len__` counts this rank's share; default that of the indices.
    """

    def __init__(
        self, dataset: Sized, done: int = 0, rank: int = 0, ranks: int = 1, planned: int | None = None
    ) -> None:
        DistributedSampler.__init__(self, dataset, num_replicas=ranks, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self.total, self.done, self.rank, self.ranks = len(dataset), done, rank, ranks
        self.planned = self.total if planned is None else planned

    def __len__(self) -> int:
        return self.planned // self.ranks

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.done * self.ranks + self.rank, self.total, self.ranks))


class TimedLoader(DataLoader[Batch]):
    """A loader that measures how long the training loop waits for its batches."""

    _waited = 0.0

    def __iter__(self) -> Any:
        batches = super().__iter__()
        while True:
            start = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self._waited += time.perf_counter() - start
            yield batch

    def take_waited(self) -> float:
        """Returns the seconds waited since the last call, and starts again from 0."""
        waited, self._waited = self._waited, 0.0
        return waited
