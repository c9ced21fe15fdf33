"""The optimizer and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Callable

from lightning import Trainer
from torch import nn
from torch.optim import AdamW

from lightning_med.utils.console import say


def make_adamw(network: nn.Module, lr: float, weight_decay: float) -> AdamW:
    """AdamW (Loshchilov & Hutter, 2019), fused, that decays matrices and leaves norms and biases alone."""
    groups = [
        {"params": [p for p in network.parameters() if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in network.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)


def make_warmup_cosine(total: int, warmup_fraction: float) -> Callable[[int], float]:
    """Factor on the peak rate by step: up in a line, down in a half cosine to zero (Loshchilov & Hutter, 2017).

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
    """Optimizer steps of a fit whose first epoch has so many batches, `window` of them a step.

    Not the trainer's `estimated_stepping_batches`: that loads the training data before a resumed run knows where it
    stood.
    """
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else max(int(batches * limit), 1)
    steps = math.ceil(batches / window)
    ends = [steps * trainer.max_epochs] if trainer.max_epochs and trainer.max_epochs > 0 else []
    if trainer.max_steps > 0:
        ends.append(trainer.max_steps)
    return max(min(ends, default=steps), 1)


def ends_step(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a batch was the last of its optimizer step: its window is full, or the epoch ends."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


def apply_settings(trainer: Trainer, lr: float, weight_decay: float, factor: Callable[[int], float]) -> None:
    """Gives a resumed optimizer the settings of now, where its checkpoint says otherwise, and says so."""
    for optimizer, config in zip(trainer.optimizers, trainer.lr_scheduler_configs, strict=True):
        schedule = config.scheduler
        before = schedule.base_lrs[0]  # type: ignore[union-attr]
        if before != lr:
            say(f"model.lr: {before} in the checkpoint, {lr} now: {lr} is used.", trainer)
        schedule.base_lrs = [lr] * len(optimizer.param_groups)  # type: ignore[union-attr]
        now = lr * factor(schedule.last_epoch)  # type: ignore[union-attr]
        for group, decay in zip(optimizer.param_groups, (weight_decay, 0.0), strict=True):
            group.update(lr=now, initial_lr=lr, weight_decay=decay)
