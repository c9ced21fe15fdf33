"""What a trainer runs of the planned batches: which epoch's, how many of them, and how many make a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from lightning_med.utils.errors import InputError


@dataclass(frozen=True)
class LoopLimits:
    """What a trainer's options say of its epochs.

    Attributes:
        limit: Batches of an epoch on each rank, or the share of them, as `limit_train_batches` and `overfit_batches`.
        repeats: Every epoch has the batches of the first, as `overfit_batches` asks for.
        find_window: Returns the batches of a step in an epoch, on each rank.
        changes: These batches by the first epoch that has them; empty where they stay the same.
    """

    limit: int | float
    repeats: bool
    find_window: Callable[[int], int]
    changes: tuple[tuple[int, int], ...] = ()

    @classmethod
    def read(cls, trainer: Any) -> LoopLimits:
        """Reads them off a trainer; without one nothing is limited."""
        if trainer is None:
            return cls(1.0, False, lambda epoch: 1)
        limits = (trainer.limit_train_batches, trainer.overfit_batches > 0)
        for callback in trainer.callbacks:
            if isinstance(callback, GradientAccumulationScheduler):
                changes = tuple(sorted(callback.scheduling.items()))
                return cls(*limits, callback.get_accumulate_grad_batches, changes)
        return cls(*limits, lambda epoch: int(trainer.accumulate_grad_batches))

    def choose_epoch(self, epoch: int) -> int:
        """Returns the epoch whose plan an epoch has."""
        return 0 if self.repeats else epoch

    def count_batches(self, planned: int) -> int:
        """Returns how many of the planned batches of an epoch the trainer runs on each rank, at least one."""
        return max(min(planned, self.limit) if isinstance(self.limit, int) else int(planned * self.limit), 1)

    def find_length(self, planned: int) -> int:
        """Returns the length that lets the trainer's own arithmetic come to `count_batches`.

        It refuses a share of an epoch that is less than one batch. A later epoch may be so short.
        """
        length = planned
        while int(length * self.limit) < 1:
            length += 1
        return length


class ValidationInterval:
    """A trainer's `val_check_interval` in batches, which no epoch may exceed.

    Epochs differ by a batch or two in their number. The trainer refuses an interval that is longer than an epoch; in
    a shorter one the validation comes at its end.

    Attributes:
        trainer: Whose interval it is.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self._asked = trainer, trainer.val_check_interval
        self._is_first = True

    def fit_epoch(self, batches: int) -> None:
        """Bounds the interval by an epoch's batches on each rank.

        Raises:
            InputError: It is longer than the first epoch.
        """
        trainer, asked = self.trainer, self._asked
        if not isinstance(asked, int) or trainer.check_val_every_n_epoch is None or not trainer.limit_val_batches:
            return
        if self._is_first and asked > batches:
            raise InputError(
                f"--trainer.val_check_interval {asked} is more than the {batches} batches of an epoch.",
                "Give fewer, 1.0 for each epoch's end, or count across epochs: --trainer.check_val_every_n_epoch null",
            )
        self._is_first = False
        trainer.val_check_interval = min(asked, batches)  # type: ignore[attr-defined]

    def restore(self) -> None:
        """Gives the trainer its own interval back."""
        self.trainer.val_check_interval = self._asked  # type: ignore[attr-defined]
