"""Detection of non-finite losses and gradients, which stop a fit before anything of their step is saved."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from lightning_med.utils.errors import RunError

_SKIPS = 25  # steps in a row that a gradient scaler may skip: its factor has fallen by 2 ** 25 by then
_SPIKE = 6.0  # standard deviations above the mean that count as a spike
_WARM_UP = 5  # logged losses before spikes count
_RATE = 0.1  # share of a new loss in the running mean


class RowTexts(Protocol):
    """What `describe_rows` needs of a token store."""

    def texts(self, row: int) -> dict[str, Any]: ...


def describe_rows(store: RowTexts, rows: list[int], limit: int = 20) -> str:
    """Returns source and row number of training rows, never their text, for a message."""
    by_source: dict[str, list[str]] = {}
    for row in rows[:limit]:
        texts = store.texts(row)
        by_source.setdefault(str(texts["source"]), []).append(str(texts["row"]))
    described = "; ".join(f"{source}, rows {', '.join(numbers)}" for source, numbers in by_source.items())
    return described + (f" and {len(rows) - limit} more" if len(rows) > limit else "")


@dataclass
class _PendingStep:
    """A step whose loss and gradient norm may still be on their way from the GPU."""

    step: int
    rows: list[int]
    values: Tensor
    arrived: Any = None  # a CUDA event

    def read(self) -> tuple[float, float]:
        if self.arrived is not None:
            self.arrived.synchronize()
        loss, norm = self.values.tolist()
        return loss, norm


class LossMonitor:
    """Checks the loss and the gradient norm of each optimizer step.

    On a CPU a step is checked before it changes a weight. On a GPU that would make it wait, so it is checked one step
    later, and before anything is saved. Where gradients are scaled (float16), a step that the scaler skips is counted
    and is no error, unless it skips 25 in a row.

    Args:
        describe: Turns numbers of training rows into text for a message.
    """

    _STATE = ("skipped", "spikes", "_mean", "_square", "_count", "_in_a_row")

    def __init__(self, describe: Callable[[list[int]], str]) -> None:
        self._describe = describe
        self._loss: Tensor | None = None
        self._rows: list[int] = []
        self._pending: _PendingStep | None = None
        self._norms: deque[float] = deque(maxlen=8)
        self._in_a_row = 0  # steps skipped without one between
        self.batch_tokens = 0  # of the current batch
        self.skipped = 0  # steps that the gradient scaler skipped
        self.spikes = 0
        self._mean, self._square, self._count = 0.0, 0.0, 0

    def add_batch(self, loss: Tensor, rows: list[int], tokens: int) -> None:
        """Adds a batch's share of the step's loss."""
        self._loss = loss.detach() if self._loss is None else self._loss + loss.detach()
        self._rows += rows
        self.batch_tokens = tokens

    def check_step(self, step: int, norm: Tensor, scaled: bool) -> None:
        """Checks a step's loss and its gradients' norm; on a GPU those of the step before.

        Args:
            step: Its number, for a message.
            norm: Of all gradients, a scalar.
            scaled: Whether a gradient scaler will skip a step that is not finite.

        Raises:
            RunError: They are not finite.
        """
        loss = torch.zeros_like(norm) if self._loss is None else self._loss.to(norm.dtype)
        values, rows = torch.stack([loss, norm.detach()]), self._rows
        self._loss, self._rows = None, []
        if values.device.type != "cuda":
            self._check(_PendingStep(step, rows, values), scaled)
            return
        self.check_pending(scaled)
        host = torch.empty(2, pin_memory=True)
        host.copy_(values, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        self._pending = _PendingStep(step, rows, host, arrived)

    def check_pending(self, scaled: bool = False) -> None:
        """Checks the step that has not been checked yet, if there is one.

        Raises:
            RunError: Its loss or gradients are not finite.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            self._check(pending, scaled)

    def _check(self, pending: _PendingStep, scaled: bool) -> None:
        loss, norm = pending.read()
        if math.isfinite(loss) and math.isfinite(norm):
            self._norms.append(norm)
            self._in_a_row = 0
            return
        if scaled and self._in_a_row < _SKIPS:
            self._in_a_row += 1
            self.skipped += 1
            return
        norms = ", ".join(f"{value:.3g}" for value in self._norms) or "none"
        raise RunError(
            f"Step {pending.step}: loss {loss:.4g}, gradient norm {norm:.4g}: not finite. In the batch:"
            f" {self._describe(pending.rows)}. Gradient norms before: {norms}.",
            "Nothing of this step is saved. Look at those rows, or lower --model.lr; float16 overflows where"
            " --trainer.precision bf16-mixed or 32-true does not.",
        )

    def detect_spike(self, loss: float) -> bool:
        """Adds a logged loss, and returns whether it is far above the ones before it."""
        spread = math.sqrt(max(self._square - self._mean**2, 0.0))
        spiked = self._count >= _WARM_UP and loss > self._mean + max(_SPIKE * spread, 0.1 * self._mean)
        self.spikes += spiked
        rate = max(_RATE, 1 / (self._count + 1))
        self._mean += rate * (loss - self._mean)
        self._square += rate * (loss**2 - self._square)
        self._count += 1
        return spiked

    def get_state(self) -> dict[str, Any]:
        """Returns what a resumed fit must know."""
        return {**{name: getattr(self, name) for name in self._STATE}, "_norms": list(self._norms)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from the state of an earlier process."""
        for name in self._STATE:
            setattr(self, name, state[name])
        self._norms.extend(state["_norms"])
