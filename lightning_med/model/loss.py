"""Cross-entropy over the tokens that are learned, and over no others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def answer_nll(
    hidden: Tensor, weight: Tensor, targets: Tensor, importance: Tensor | None = None, chunk: int = 512
) -> tuple[Tensor, Tensor]:
    """Sum of the negative log-likelihood of the learned tokens, never holding all logits at once.

    The gradient is computed beside the loss, while a chunk's logits are alive, so that they are neither kept nor
    computed twice. In float16 it is computed in the backward pass instead: the gradient scaler's factor is known only
    there, and without it small gradients would vanish.

    Args:
        hidden: `[positions, width]`, the states that predict a learned token; any floating dtype.
        weight: `[vocabulary, width]`, the output layer, tied to the input embedding.
        targets: `[positions]`, int64 token ids.
        importance: `[positions]`, the weight of each token in the sum; `None` for 1.
        chunk: Positions whose logits are alive at once; memory is `chunk * vocabulary * 4` bytes.

    Returns:
        A float32 scalar in nats, `sum(importance * nll)`, with a gradient; and `nll`, `[positions]`, float32, without.
        Divide by a count of tokens only after summing over batches and ranks.

    Raises:
        ValueError: `hidden` and `targets` differ in length.
    """
    if len(hidden) != len(targets):
        raise ValueError(f"hidden has {len(hidden)} positions, targets {len(targets)}")
    dtype = hidden.dtype
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
    if importance is None:
        importance = torch.ones(len(targets), device=hidden.device)
    if not torch.is_grad_enabled():  # inside the function below, a parameter would ask for its gradient all the same
        hidden, weight = hidden.detach(), weight.detach()
    with torch.autocast(hidden.device.type, enabled=False):
        total, nll = _AnswerNLL.apply(hidden, weight, targets, importance.float(), chunk, dtype)
    return total, nll


class _AnswerNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, importance: Tensor, chunk: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        needs_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        ctx.early = needs_gradient and dtype != torch.float16
        ctx.chunk, ctx.dtype = chunk, dtype
        cast = weight.to(dtype)
        nll = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        grads = _Gradients(hidden, weight, cast) if ctx.early else None
        for part in _slices(len(targets), chunk):
            logits = (hidden[part].to(dtype) @ cast.T).float()
            log_sum = logits.logsumexp(-1)
            nll[part] = log_sum - logits.gather(1, targets[part, None]).squeeze(1)
            if grads is not None:
                grads.add(part, _logit_gradient(logits, log_sum, targets[part], importance[part]))
        if grads is not None:
            ctx.save_for_backward(grads.hidden, grads.weight)
        elif needs_gradient:
            ctx.save_for_backward(hidden, weight, targets, importance)
        ctx.mark_non_differentiable(nll)
        return (nll * importance).sum(), nll

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, grad_nll: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.early:
            grad_hidden, grad_weight = ctx.saved_tensors
            # One call of backward a forward is the rule, so the buffers may be scaled in place.
            return grad_hidden.mul_(grad_total), grad_weight.mul_(grad_total), None, None, None, None
        hidden, weight, targets, importance = ctx.saved_tensors
        grads = _Gradients(hidden, weight, weight.to(ctx.dtype))
        for part in _slices(len(targets), ctx.chunk):
            logits = (hidden[part].to(ctx.dtype) @ grads.cast.T).float()
            scaled = importance[part] * grad_total
            grads.add(part, _logit_gradient(logits, logits.logsumexp(-1), targets[part], scaled))
        return grads.hidden, grads.weight, None, None, None, None


class _Gradients:
    """Buffers for the gradients of hidden states and output layer, filled chunk by chunk in float32."""

    def __init__(self, hidden: Tensor, weight: Tensor, cast: Tensor) -> None:
        self.source, self.cast = hidden, cast
        self.hidden, self.weight = torch.empty_like(hidden), torch.zeros_like(weight)

    def add(self, part: slice, logits: Tensor) -> None:
        logits = logits.to(self.cast.dtype)
        self.hidden[part] = (logits @ self.cast).to(self.hidden.dtype)
        self.weight += logits.T @ self.source[part].to(self.cast.dtype)


def _logit_gradient(logits: Tensor, log_sum: Tensor, targets: Tensor, importance: Tensor) -> Tensor:
    """`importance * (softmax(logits) - one_hot(targets))`, in the memory of the logits."""
    gradient = logits.sub_(log_sum[:, None]).exp_()
    gradient[torch.arange(len(targets), device=targets.device), targets] -= 1
    return gradient.mul_(importance[:, None])


def _slices(length: int, chunk: int) -> list[slice]:
    return [slice(start, min(start + chunk, length)) for start in range(0, length, chunk)]
