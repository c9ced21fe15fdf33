"""Numbers that are none: a fit whose loss or gradients are not finite stops before it spoils its weights."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_med.utils.errors import RunError

_SKIPS = 25  # steps in a row that a gradient scaler may skip: its factor has fallen by 2 ** 25 then
_SPIKE, _SETTLED, _SLOWLY = 6.0, 5, 0.1  # deviations above the mean; logged losses before it counts; share of a new one


@dataclass
class _Step:
    """What a step's numbers are found in: on a GPU they come while the next step is under way."""

    step: int
    rows: list[int]
    values: Tensor
    arrived: Any = None

    def read(self) -> tuple[float, float]:
        if self.arrived is not None:
            self.arrived.synchronize()
        loss, norm = self.values.tolist()
        return loss, norm


class LossMonitor:
    """Watches each optimizer step's loss and gradient norm.

    On a processor a step is looked at before it changes a weight. On a GPU that would make it wait, so it is looked at
    a step later, and before anything is saved. Where gradients are scaled (float16), a step that the scaler skips is
    counted and no error, unless it skips 25 in a row.

    Args:
        named: Turns numbers of training rows into words for a message: source and row, never text.
    """

    def __init__(self, named: Callable[[list[int]], str]) -> None:
        self._named = named
        self._loss: Tensor | None = None
        self._rows: list[int] = []
        self._pending: _Step | None = None
        self._norms: deque[float] = deque(maxlen=8)
        self._in_a_row = 0
        self.tokens = 0  # of the batch at hand
        self.skipped = 0  # steps that the gradient scaler skipped
        self.spikes = 0
        self._mean, self._square, self._count = 0.0, 0.0, 0

    def batch(self, loss: Tensor, rows: list[int], tokens: int) -> None:
        """Takes in a batch's share of the step's loss."""
        self._loss = loss.detach() if self._loss is None else self._loss + loss.detach()
        self._rows += rows
        self.tokens = tokens

    def step(self, step: int, norm: Tensor, scaled: bool) -> None:
        """Looks at a step's sum of losses and at its gradients' norm, or, on a GPU, at those of the step before.

        Raises:
            RunError: They are no numbers.
        """
        loss = torch.zeros_like(norm) if self._loss is None else self._loss.to(norm.dtype)
        values, rows = torch.stack([loss, norm.detach()]), self._rows
        self._loss, self._rows = None, []
        if values.device.type != "cuda":
            self._look(_Step(step, rows, values), scaled)
            return
        self.settle(scaled)
        host = torch.empty(2, pin_memory=True)
        host.copy_(values, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        self._pending = _Step(step, rows, host, arrived)

    def settle(self, scaled: bool = False) -> None:
        """Looks at the step that was not looked at yet.

        Raises:
            RunError: Its numbers are none.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            self._look(pending, scaled)

    def _look(self, seen: _Step, scaled: bool) -> None:
        loss, norm = seen.read()
        if math.isfinite(loss) and math.isfinite(norm):
            self._norms.append(norm)
            self._in_a_row = 0
            return
        if scaled and self._in_a_row < _SKIPS:
            self._in_a_row += 1
            self.skipped += 1
            return
        before = ", ".join(f"{value:.3g}" for value in self._norms) or "none"
        raise RunError(
            f"Step {seen.step}: loss {loss:.4g}, gradient norm {norm:.4g}: these are no numbers to learn from. In the"
            f" batch: {self._named(seen.rows)}. Gradient norms before: {before}.",
            "Nothing of this step is saved. Look at those rows, or lower --model.lr; float16 overflows where"
            " --trainer.precision bf16-mixed or 32-true does not.",
        )

    def spiked(self, loss: float) -> bool:
        """Takes in a logged loss; whether it stands far above the ones before it."""
        spread = math.sqrt(max(self._square - self._mean**2, 0.0))
        found = self._count >= _SETTLED and loss > self._mean + max(_SPIKE * spread, 0.1 * self._mean)
        self.spikes += found
        share = max(_SLOWLY, 1 / (self._count + 1))
        self._mean += share * (loss - self._mean)
        self._square += share * (loss**2 - self._square)
        self._count += 1
        return found

    _KEPT = ("skipped", "spikes", "_mean", "_square", "_count", "_in_a_row")

    def state(self) -> dict[str, Any]:
        """What a resumed fit must know."""
        return {**{name: getattr(self, name) for name in self._KEPT}, "_norms": list(self._norms)}

    def restore(self, state: dict[str, Any]) -> None:
        for name in self._KEPT:
            setattr(self, name, state[name])
        self._norms.extend(state["_norms"])
