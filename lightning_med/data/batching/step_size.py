"""The size of an optimizer step, in tokens or in batches."""

from __future__ import annotations

from lightning_med.utils.errors import InputError


def check_accumulation(tokens_per_step: int | None, accumulate_grad_batches: int, own: int | None = None) -> None:
    """Refuses two ways of saying how long a step is.

    Args:
        tokens_per_step: `None` where it is not given.
        accumulate_grad_batches: The trainer's.
        own: What the data module itself gave to the trainer, in an earlier epoch or fit.

    Raises:
        InputError: Both are given.
    """
    if tokens_per_step is not None and accumulate_grad_batches not in (1, own):
        raise InputError(
            f"tokens_per_step {tokens_per_step} and accumulate_grad_batches {accumulate_grad_batches} both say how long"
            " an optimizer step is.",
            "Give one: --data.tokens_per_step, or --trainer.accumulate_grad_batches.",
        )
