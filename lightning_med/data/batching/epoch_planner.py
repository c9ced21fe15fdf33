"""The training batches of each epoch, over all ranks."""

from __future__ import annotations

import numpy as np

from lightning_med.data.batching.batch_plan import (
    balance_last_step,
    plan_batches,
    plan_steps,
    repeat_by_weight,
    shuffle_rows,
)
from lightning_med.data.batching.tokens_per_step import StepSize
from lightning_med.utils.errors import InputError

_KEPT = 2  # plans: at a resumed fit's start the first epoch's, which tells its length, and the current one's


class EpochPlanner:
    """Plans the batches of an epoch as a function of (seed, epoch), and remembers the last plans.

    Args:
        lengths: `[rows]`, tokens that each training row takes in a batch.
        weights: `[rows]`, how often an epoch shows each row.
        step_size: Tokens of a batch and of a step.
        seed: Decides the order together with the epoch.
    """

    def __init__(self, lengths: np.ndarray, weights: np.ndarray, step_size: StepSize, seed: int) -> None:
        self.lengths, self.weights, self.step_size, self.seed = lengths, weights, step_size, seed
        self._plans: dict[tuple[int, ...], list[np.ndarray]] = {}
        self._counts: dict[tuple[int, ...], int] = {}

    def plan(self, epoch: int, window: int, ranks: int) -> list[np.ndarray]:
        """Returns the row numbers of each batch.

        Args:
            epoch: From 0.
            window: Batches of an optimizer step on each rank.
            ranks: Processes that train together; rank r takes every `ranks`-th batch, from the r-th.

        Raises:
            InputError: The sources' weights leave no row.
        """
        key = (epoch, window, ranks, self.step_size.batch_tokens)
        if key not in self._plans:
            while len(self._plans) >= _KEPT:
                del self._plans[next(iter(self._plans))]
            self._plans[key] = self._plan(self._order(epoch), window, ranks)
            self._counts[key] = len(self._plans[key])
        return self._plans[key]

    def count(self, epoch: int, window: int, ranks: int) -> int:
        """Returns the number of batches of an epoch; the arguments are those of `plan`.

        A plan is kept only where there is room, so that to count all epochs leaves those that are needed next.
        """
        key = (epoch, window, ranks, self.step_size.batch_tokens)
        if key not in self._counts:
            if len(self._plans) < _KEPT:
                return len(self.plan(epoch, window, ranks))
            self._counts[key] = len(self._plan(self._order(epoch), window, ranks))
        return self._counts[key]

    def _order(self, epoch: int) -> np.ndarray:
        order = shuffle_rows(len(self.lengths), self.seed, epoch)
        if (self.weights != 1).any():
            order = repeat_by_weight(order, self.weights, self.seed, epoch)
            if not len(order):
                raise InputError(
                    f"The weights leave no training row in epoch {epoch}.", "Raise the weight of a source."
                )
        return order

    def _plan(self, order: np.ndarray, window: int, ranks: int) -> list[np.ndarray]:
        step, budget = self.step_size, self.step_size.batch_tokens
        if step.tokens_per_step is not None:
            return plan_steps(self.lengths, budget, order, step.tokens_per_step, step.max_length, ranks)
        batches = plan_batches(self.lengths, budget, order)
        return balance_last_step(batches, self.lengths, budget, window * ranks, ranks)
