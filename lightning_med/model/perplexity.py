"""Token-level perplexity and bits per byte of the answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class AnswerLikelihood(Metric):
    """Token-level loss, perplexity and bits per byte of the answers, independent of batch size and number of ranks.

    It accumulates sums and reduces them over ranks by summation: negative log-likelihood in float64, counts in int64.
    A mean of batch means would overweight short batches, and a float32 count of tokens stops at 2 ** 24.
    """

    nll: Tensor
    tokens: Tensor
    bytes: Tensor

    def __init__(self) -> None:
        super().__init__()
        dtype = torch.float32 if torch.backends.mps.is_available() else torch.float64  # Apple's GPUs have no float64
        self.add_state("nll", torch.zeros((), dtype=dtype), dist_reduce_fx="sum")
        self.add_state("tokens", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("bytes", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, nll: Tensor, answer_bytes: int) -> None:
        """Adds a batch.

        Args:
            nll: `[answers]`, negative log-likelihood of each answer token in nats, end tokens included.
            answer_bytes: UTF-8 bytes of those answers.
        """
        self.nll += nll.to(self.nll.dtype).sum()
        self.tokens += nll.numel()
        self.bytes += answer_bytes

    def compute(self) -> dict[str, float]:
        """Returns `loss` (nats per token), `perplexity` (exp of the loss), `bits_per_byte` and `tokens` (their number).

        Without tokens the loss, the perplexity and the bits per byte are NaN.
        """
        tokens, total = int(self.tokens), float(self.nll)
        loss = total / tokens if tokens else math.nan
        return {
            "loss": loss,
            "perplexity": math.inf if loss >= 700 else math.exp(loss),
            "bits_per_byte": total / math.log(2) / int(self.bytes) if int(self.bytes) else math.nan,
            "tokens": tokens,
        }

    def _apply(self, fn: Any, exclude_state: Sequence[str] = "") -> AnswerLikelihood:
        """Moves the sums to another device but keeps their dtypes, also if a trainer casts the whole module."""
        nll, start = self.nll, self._defaults["nll"]
        super()._apply(fn, exclude_state)
        self.nll, self._defaults["nll"] = nll.to(self.nll.device), start.to(self.nll.device)  # type: ignore[union-attr]
        return self

    def get_sums(self) -> dict[str, float]:
        """Returns the sums over all ranks so far; a collective operation that every rank must call."""
        with self.sync_context(should_unsync=True):
            return {"nll": float(self.nll), "tokens": int(self.tokens), "bytes": int(self.bytes)}

    def restore_sums(self, sums: dict[str, float]) -> None:
        """Sets the sums to those that `get_sums` returned in an earlier process."""
        for name, value in sums.items():
            getattr(self, name).fill_(value)
        self._update_count = 1
