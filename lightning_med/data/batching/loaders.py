"""The loaders of training, evaluation and prediction, each with one rank's share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lightning_med.data.batching.batch_dataset import BatchDataset, ResumableSampler, TimedLoader
from lightning_med.data.batching.batch_plan import plan_batches
from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.tokenization.consultation import QUESTION

_QUESTIONS = {"cpu": 32, "cuda": 256}  # answered side by side; a GPU hardly notices more of them


def measure_rows(store: TokenStore, padded: int | None) -> np.ndarray:
    """Returns `[rows]`, the tokens that each row takes in a batch.

    Args:
        store: The tokens of a split.
        padded: The least length of padded rows; `None` where batches are flat.
    """
    width = _find_width(store, padded)
    return store.lengths if width is None else np.full(len(store), width)


def _find_width(store: TokenStore, padded: int | None) -> int | None:
    """Returns the common length of padded rows: `padded`, or that of a longer row of validation or test."""
    return None if padded is None else max(padded, int(store.lengths.max(initial=0)))


@dataclass(frozen=True)
class QuestionGroups(Dataset[list[dict[str, Any]]]):
    """Questions with their references, by group; texts are read when a group is asked for.

    Attributes:
        store: The tokens and texts of a split.
        rows: The rows to answer.
        groups: Rows that are answered side by side, over all ranks.
    """

    store: TokenStore
    rows: np.ndarray
    groups: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> list[dict[str, Any]]:
        return [{"number": int(row), **self.store.texts(row)} for row in self.groups[index]]


@dataclass(frozen=True)
class LoaderFactory:
    """Makes loaders whose state is a position and nothing else: no state lives in workers.

    Attributes:
        padded: `None` for flat batches, else the least length of a padded row.
        pad_id: The id that fills padded rows.
        num_workers: Processes that build batches.
        rank: This process's number.
        ranks: Processes that train together.
    """

    padded: int | None
    pad_id: int
    num_workers: int
    rank: int
    ranks: int

    def make_loader(
        self, store: TokenStore, plan: list[np.ndarray], window: int = 1, done: int = 0, planned: int | None = None
    ) -> TimedLoader:
        """Returns a loader over a plan of batches.

        Args:
            store: The tokens of a split.
            plan: Row numbers of each batch, over all ranks.
            window: Batches of an optimizer step on each rank.
            done: Batches that this rank has done.
            planned: The length that the loader has for the trainer, over all ranks, where that limits it to `plan`.
        """
        width = _find_width(store, self.padded)
        batches = BatchDataset(store, plan, window * self.ranks, width, self.pad_id)
        return TimedLoader(
            batches,
            batch_size=None,
            sampler=ResumableSampler(batches, done, self.rank, self.ranks, planned),
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def make_evaluation_loader(self, store: TokenStore, rows: np.ndarray, batch_tokens: int) -> TimedLoader:
        """Returns a loader over rows in their order, in batches of up to `batch_tokens`."""
        return self.make_loader(store, self.plan_evaluation(store, rows, batch_tokens))

    def plan_evaluation(self, store: TokenStore, rows: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
        """Returns the row numbers of each batch of an evaluation, over all ranks; each rank has equally many."""
        plan = plan_batches(measure_rows(store, self.padded), batch_tokens, rows)
        return plan + [np.empty(0, dtype=np.int64)] * (-len(plan) % self.ranks)

    def make_question_loader(self, store: TokenStore, rows: np.ndarray, device: str) -> DataLoader[Any]:
        """Returns a loader over questions with their references, those of similar length together.

        Args:
            store: The tokens and texts of a split.
            rows: The rows to answer.
            device: `cpu` or `cuda`; decides how many questions are answered side by side.
        """
        size = _QUESTIONS.get(device, _QUESTIONS["cpu"])
        order = rows[np.argsort(store.targets[QUESTION][rows], kind="stable")]
        groups = [order[i : i + size] for i in range(0, len(order), size)]
        groups += [order[:0]] * (-len(groups) % self.ranks)  # the ranks wait for each other at the end
        questions = QuestionGroups(store, rows, groups)
        return DataLoader(questions, batch_size=None, sampler=ResumableSampler(questions, 0, self.rank, self.ranks))
