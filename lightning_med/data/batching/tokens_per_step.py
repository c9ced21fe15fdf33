"""The size of a batch and of an optimizer step, in tokens and in batches."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from lightning_med.data.batching.batch_plan import count_batches
from lightning_med.utils.errors import InputError


class StepSize:
    """Tokens of a batch, and how many batches make an optimizer step.

    Args:
        settings: Of the data module. `batch_tokens`: tokens a batch may hold, or `auto`, which is measured at first use
            by whoever trains and then written back. `tokens_per_step`: tokens of an optimizer step; `None` leaves it
            to the trainer's `accumulate_grad_batches`. `max_length`: tokens of the longest training row.

    Raises:
        InputError: A batch or a step cannot hold one row.
    """

    def __init__(self, settings: MutableMapping[str, Any]) -> None:
        longest = settings["max_length"]
        for name in ("batch_tokens", "tokens_per_step"):
            if settings[name] not in (None, "auto") and settings[name] < longest:
                raise InputError(
                    f"{name} {settings[name]} cannot hold one consultation of max_length {longest}.",
                    f"Give --data.{name} {longest} or more, or a shorter --data.max_length.",
                )
        self._settings, self.max_length = settings, longest
        self.tokens_per_step: int | None = settings["tokens_per_step"]
        self._measure: Callable[[], int] | None = None
        self._claimed: int | None = None  # what `claim_accumulation` returned last

    def use_measurement(self, measure: Callable[[], int]) -> None:
        """Sets what answers `auto`: a function that returns the tokens of a batch, the same on every rank."""
        self._measure = measure

    @property
    def is_auto(self) -> bool:
        """Whether `auto` was asked for and has not been measured yet."""
        return self._settings["batch_tokens"] == "auto"

    @property
    def batch_tokens(self) -> int:
        """Tokens a batch may hold; `auto` is measured at first use.

        Raises:
            InputError: It is `auto`, and nothing can measure it.
        """
        if self.is_auto:
            if self._measure is None:
                raise InputError(
                    "batch_tokens auto measures a network, and there is none yet.",
                    "Give --data.batch_tokens a number, or the data to a trainer with a DialogueLM.",
                )
            self._settings["batch_tokens"], self._measure = self._measure(), None
        return int(self._settings["batch_tokens"])

    def restore_batch_tokens(self, tokens: int) -> bool:
        """Settles `auto` to a checkpoint's number, in which its position is counted; returns whether it was `auto`."""
        if not self.is_auto:
            return False
        self._settings["batch_tokens"] = max(tokens, self.max_length)
        return True

    def count_window(self, ranks: int, accumulate_grad_batches: int) -> int:
        """Returns the batches of an optimizer step on each rank."""
        if self.tokens_per_step is None:
            return accumulate_grad_batches
        return count_batches(self.tokens_per_step, self.batch_tokens, self.max_length, ranks) // ranks

    def check_accumulation(self, accumulate_grad_batches: int, changes: bool = False) -> None:
        """Refuses a trainer's `accumulate_grad_batches` beside `tokens_per_step`, unless it is the claimed one.

        Args:
            accumulate_grad_batches: The trainer's.
            changes: Whether a callback changes it from epoch to epoch.
        """
        if changes and self.tokens_per_step is not None:
            raise InputError(
                f"tokens_per_step {self.tokens_per_step} and GradientAccumulationScheduler both say how long an"
                " optimizer step is.",
                "Give one of them.",
            )
        check_accumulation(self.tokens_per_step, accumulate_grad_batches, self._claimed)

    def claim_accumulation(self, ranks: int, accumulate_grad_batches: int) -> int:
        """Returns the `accumulate_grad_batches` that the trainer must use so that a step has `tokens_per_step`."""
        if self.tokens_per_step is None:
            return accumulate_grad_batches
        self.check_accumulation(accumulate_grad_batches)
        self._claimed = self.count_window(ranks, accumulate_grad_batches)
        return self._claimed


def check_accumulation(tokens_per_step: int | None, accumulate_grad_batches: int, claimed: int | None = None) -> None:
    """Refuses two settings that both say how long an optimizer step is.

    Args:
        tokens_per_step: `None` where it is not set.
        accumulate_grad_batches: The trainer's.
        claimed: What the data module itself set in the trainer, in an earlier epoch or fit.

    Raises:
        InputError: Both are set.
    """
    if tokens_per_step is not None and accumulate_grad_batches not in (1, claimed):
        raise InputError(
            f"tokens_per_step {tokens_per_step} and accumulate_grad_batches {accumulate_grad_batches} both say how long"
            " an optimizer step is.",
            "Give one: --data.tokens_per_step, or --trainer.accumulate_grad_batches.",
        )
