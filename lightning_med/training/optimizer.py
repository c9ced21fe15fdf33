"""The optimizer, the learning rate schedule, gradient clipping, and what an optimizer step is."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from lightning import Trainer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from lightning_med.utils.console import say


def make_adamw(network: nn.Module, lr: float, weight_decay: float) -> AdamW:
    """Returns fused AdamW (Loshchilov & Hutter, 2019) with decay on matrices, none on norms and biases."""
    groups = [
        {"params": [p for p in network.parameters() if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in network.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)


def make_warmup_cosine(total: int, warmup_fraction: float) -> Callable[[int], float]:
    """Returns the factor on the peak rate by step: linear warm-up, then a half cosine to 0 (Loshchilov & Hutter, 2017).

    Args:
        total: Optimizer steps of the whole fit.
        warmup_fraction: Share of them in which the rate rises.
    """
    warmup = max(round(total * warmup_fraction), 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min((step - warmup) / max(total - warmup, 1), 1)))

    return factor


def count_steps(trainer: Trainer, batches: int, window: int) -> int:
    """Returns the optimizer steps of a fit.

    It replaces the trainer's `estimated_stepping_batches`, which loads the training data before a resumed run knows its
    position.

    Args:
        trainer: Its limits on batches, epochs and steps count.
        batches: Of the first epoch, on each rank.
        window: Batches of a step, on each rank.
    """
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else max(int(batches * limit), 1)
    steps = math.ceil(batches / window)
    ends = [steps * trainer.max_epochs] if trainer.max_epochs and trainer.max_epochs > 0 else []
    if trainer.max_steps > 0:
        ends.append(trainer.max_steps)
    return max(min(ends, default=steps), 1)


def is_step_end(trainer: Trainer, batch_idx: int) -> bool:
    """Returns whether a batch was the last of its optimizer step: its window is full, or the epoch ends."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


def align_validation(trainer: Trainer) -> None:
    """Delays a validation within an epoch to the end of its optimizer step, from where a run can resume."""
    every, window = trainer.val_check_batch, trainer.accumulate_grad_batches
    if isinstance(every, int) and trainer.check_val_every_n_epoch is not None:
        last = int(trainer.num_training_batches)
        trainer.val_check_batch = max(min(-(-every // window) * window, last), 1)


def apply_settings(trainer: Trainer, lr: float, weight_decay: float, factor: Callable[[int], float]) -> None:
    """Gives a resumed optimizer today's settings where its checkpoint has others, and says so."""
    for optimizer, config in zip(trainer.optimizers, trainer.lr_scheduler_configs, strict=True):
        schedule = config.scheduler
        before = schedule.base_lrs[0]  # type: ignore[union-attr]
        if before != lr:
            say(f"model.lr: {before} in the checkpoint, {lr} now: {lr} is used.", trainer)
        schedule.base_lrs = [lr] * len(optimizer.param_groups)  # type: ignore[union-attr]
        now = lr * factor(schedule.last_epoch)  # type: ignore[union-attr]
        for group, decay in zip(optimizer.param_groups, (weight_decay, 0.0), strict=True):
            group.update(lr=now, initial_lr=lr, weight_decay=decay)


def unscale_gradients(trainer: Trainer, optimizer: torch.optim.Optimizer) -> bool:
    """Divides the gradients by a gradient scaler's factor, and returns whether there is such a scaler.

    The trainer leaves this to a fused optimizer, which would do it after the clipping. The scaler remembers that it is
    done, and its step then only checks that all numbers are finite.
    """
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
        scaler.unscale_(optimizer)
    return scaler is not None


def clip_gradients(network: nn.Module, value: float | None, algorithm: str | None) -> Tensor:
    """Clips the gradients in place, by norm or by value, and returns their norm before, a scalar.

    Args:
        network: Whose gradients are clipped.
        value: The bound; `None` or 0 clips nothing.
        algorithm: `norm` (also where `None`) or `value`.
    """
    parameters = list(network.parameters())
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()  # of sharded weights each rank has a part of the norm
    if value and algorithm in (None, "norm"):
        torch.nn.utils.clip_grads_with_norm_(parameters, value, norm)
    elif value:
        torch.nn.utils.clip_grad_value_(parameters, value)
    return norm
