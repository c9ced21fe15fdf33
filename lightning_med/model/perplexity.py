"""Perplexity weighted by token, and bits per byte."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class AnswerLikelihood(Metric):
    """How well the answers are predicted, exact under any batch size and any number of ranks.

    Sums are kept and reduced as sums: the likelihood in float64, the counts in int64. A mean of batch means weighs
    short batches too much, and a float32 count of tokens stops at 2 ** 24.
    """

    nll: Tensor
    tokens: Tensor
    bytes: Tensor

    def __init__(self) -> None:
        super().__init__()
        wide = torch.float32 if torch.backends.mps.is_available() else torch.float64  # Apple's GPUs have no float64
        self.add_state("nll", torch.zeros((), dtype=wide), dist_reduce_fx="sum")
        self.add_state("tokens", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("bytes", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, nll: Tensor, answer_bytes: int) -> None:
        """Takes in a batch.

        Args:
            nll: `[answers]`, nats of each learned token of the answers, their ends included.
            answer_bytes: UTF-8 bytes of those answers.
        """
        self.nll += nll.to(self.nll.dtype).sum()
        self.tokens += nll.numel()
        self.bytes += answer_bytes

    def compute(self) -> dict[str, float]:
        """`loss` in nats a token, `perplexity` = exp(loss), `bits_per_byte`, and `tokens`, over the answers' tokens."""
        tokens, total = int(self.tokens), float(self.nll)
        loss = total / tokens if tokens else math.nan
        return {
            "loss": loss,
            "perplexity": math.inf if loss >= 700 else math.exp(loss),
            "bits_per_byte": total / math.log(2) / int(self.bytes) if int(self.bytes) else math.nan,
            "tokens": tokens,
        }

    def _apply(self, fn: Any, exclude_state: Sequence[str] = "") -> AnswerLikelihood:
        """Moves the sums to another device and keeps their precision, also where a trainer casts the whole module."""
        wide = self.nll.dtype
        super()._apply(fn, exclude_state)
        self.nll, self._defaults["nll"] = self.nll.to(wide), self._defaults["nll"].to(wide)  # type: ignore[union-attr]
        return self

    def sums(self) -> dict[str, float]:
        """What has been summed up so far, over all ranks; every rank must ask."""
        with self.sync_context(should_unsync=True):
            return {"nll": float(self.nll), "tokens": int(self.tokens), "bytes": int(self.bytes)}

    def restore(self, sums: dict[str, float]) -> None:
        """Goes on from sums of an earlier process."""
        for name, value in sums.items():
            getattr(self, name).fill_(value)
        self._update_count = 1
