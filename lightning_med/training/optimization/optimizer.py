"""The optimizer, the learning rate schedule, gradient clipping, and what an optimizer step is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning import Trainer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_med.training.patches.loop import will_fit_end
from lightning_med.utils.console import say


def make_adamw(network: nn.Module, lr: float, weight_decay: float) -> AdamW:
    """Returns fused AdamW (Loshchilov & Hutter, 2019) with decay on matrices, none on norms and biases."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
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


def make_warmup_constant(warmup: int) -> Callable[[int], float]:
    """Returns the factor on the peak rate by step where no end is known: linear warm-up, then 1.

    Args:
        warmup: Steps in which the rate rises.
    """
    return lambda step: min((step + 1) / max(warmup, 1), 1.0)


@dataclass
class OwnOptimizer:
    """AdamW with a warm-up and a half cosine, as `DialogueLM` makes them where nothing else is asked for.

    A checkpoint brings its own rates and decays along. Of this optimizer, those of today are kept; another one, of a
    subclass or of the settings, continues exactly as it was saved.
    """

    optimizer: AdamW
    schedule: LambdaLR
    _decays: list[float] = field(default_factory=list)
    _rates: list[Any] = field(default_factory=list)  # peaks

    @classmethod
    def make(cls, network: nn.Module, factor: Callable[[int], float], lr: float, weight_decay: float) -> OwnOptimizer:
        """Makes both.

        Args:
            network: Its weights that are trained.
            factor: On the peak rate, by step; see `make_warmup_cosine`.
            lr: The peak rate.
            weight_decay: See `make_adamw`.
        """
        optimizer = make_adamw(network, lr, weight_decay)
        return cls(optimizer, LambdaLR(optimizer, factor))

    def runs(self, trainer: Trainer) -> bool:
        """Returns whether a trainer steps this optimizer by this schedule, and not one made of or beside them."""
        schedules = [config.scheduler for config in trainer.lr_scheduler_configs]
        pairs = ((trainer.optimizers, self.optimizer), (schedules, self.schedule))
        return all(len(those) == 1 and those[0] is ours for those, ours in pairs)

    def note_settings(self) -> None:
        """Remembers rates and decays; call it before a checkpoint is loaded."""
        self._rates = list(self.schedule.base_lrs)
        self._decays = [group["weight_decay"] for group in self.optimizer.param_groups]

    def keep_settings(self, trainer: Trainer) -> None:
        """Sets the remembered rates and decays again where a checkpoint had others, and says so."""
        if not self.runs(trainer) or not self._rates:
            return
        before, now = self.schedule.base_lrs[0], self._rates[0]
        if before != now:
            say(f"model.lr: {before} in the checkpoint, {now} now: {now} is used.", trainer)
        self.schedule.base_lrs = list(self._rates)
        factor = self.schedule.lr_lambdas[0](self.schedule.last_epoch)
        for group, rate, decay in zip(self.optimizer.param_groups, self._rates, self._decays, strict=True):
            group.update(lr=rate * factor, initial_lr=rate, weight_decay=decay)


def count_steps(trainer: Trainer, count_epoch: Callable[[int], int]) -> int | None:
    """Returns the optimizer steps of a fit; `None` where neither epochs nor steps end it.

    It replaces the trainer's `estimated_stepping_batches`, which loads the training data before a resumed run knows its
    position, and takes all epochs to be as long as the first.

    Args:
        trainer: Its `max_epochs` and `max_steps` count.
        count_epoch: Returns the steps of an epoch that is not cut short by `max_steps`.
    """
    epochs, most = trainer.max_epochs or 0, trainer.max_steps
    if epochs <= 0:
        return most if most > 0 else None
    total = 0
    for epoch in range(epochs):
        total += count_epoch(epoch)
        if 0 < most <= total:
            return most
    return total


def is_step_end(trainer: Trainer, batch_idx: int) -> bool:
    """Returns whether a batch was the last of its optimizer step: its window is full, or the epoch ends."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


def is_log_step(trainer: Trainer) -> bool:
    """Returns whether the values of the last optimizer step go to the loggers."""
    every = int(getattr(trainer, "log_every_n_steps", 1))
    return every > 0 and trainer.global_step % every == 0


def is_reported(trainer: Trainer, batch_idx: int) -> bool:
    """Returns whether a batch ends a step whose values are computed: those for the loggers, and the fit's last one.

    The values of the last one are shown. The loggers get them if it is theirs or where the fit was stopped early.
    """
    return is_step_end(trainer, batch_idx) and (is_log_step(trainer) or will_fit_end(trainer))


def unscale_gradients(trainer: Trainer, optimizer: Optimizer) -> bool:
    """Divides the gradients by a gradient scaler's factor, and returns whether there is such a scaler.

    The trainer leaves this to a fused optimizer, which would do it after the clipping. The scaler remembers that it is
    done, and its step then only checks that all numbers are finite.
    """
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
        scaler.unscale_(optimizer)
    return scaler is not None


def clip_gradients(optimizer: Optimizer, value: float | None, algorithm: str | None) -> Tensor:
    """Clips the gradients in place, by norm or by value, and returns their norm before, a scalar.

    Args:
        optimizer: Whose weights' gradients count; weights that it leaves alone collect gradients that nobody clears.
        value: The bound; `None`, 0 or less clips nothing, as everywhere in Lightning.
        algorithm: `norm` (also where `None`) or `value`.
    """
    parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()  # of sharded weights each rank has a part of the norm
    if value is None or value <= 0:
        return norm
    if algorithm in (None, "norm"):
        torch.nn.utils.clip_grads_with_norm_(parameters, value, norm)
    else:
        torch.nn.utils.clip_grad_value_(parameters, value)
    return norm
