"""Cross-entropy over the tokens that are learned, and over no others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

CHUNK = 2048  # positions whose logits are alive at once: 206 MB in bfloat16 over GPT-2's vocabulary
_ALIGNED = 64
_CACHED = 64  # of them, how many a processor turns into gradients at once: what its cache holds in float32


def compute_answer_nll(
    hidden: Tensor, weight: Tensor, targets: Tensor, importance: Tensor | None = None, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """Sum of the negative log-likelihood of the learned tokens, never holding all logits at once.

    The gradient is computed beside the loss, while a chunk's logits are alive, and in their memory, so that they are
    neither kept nor computed twice. In float16 it is computed in the backward pass instead: the gradient scaler's
    factor is known only there, and without it small gradients would vanish.

    Args:
        hidden: `[positions, width]`, the states that predict a learned token; any floating dtype.
        weight: `[vocabulary, width]`, the output layer, tied to the input embedding.
        targets: `[positions]`, int64 token ids.
        importance: `[positions]`, the weight of each token in the sum; `None` for 1.
        chunk: Positions whose logits are alive at once; memory is `chunk * vocabulary` numbers of the precision.

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
        nll = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        if ctx.early:
            ctx.save_for_backward(*_compute_gradients(hidden, weight, targets, importance, nll, chunk, dtype))
        else:
            for part, logits in _iterate_logits(hidden, weight.to(dtype), chunk):
                _turn_into_gradient(logits, targets[part], None, nll[part])
            if needs_gradient:
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
        nll = torch.empty_like(importance)
        found = _compute_gradients(hidden, weight, targets, importance * grad_total, nll, ctx.chunk, ctx.dtype)
        return *found, None, None, None, None


def _compute_gradients(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    importance: Tensor,
    nll: Tensor,
    chunk: int,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Of hidden states and output layer, summed over the chunks in their own precision; fills `nll`."""
    cast = weight.to(dtype)
    grad_hidden, grad_weight = torch.empty_like(hidden), None
    for part, logits in _iterate_logits(hidden, cast, chunk):
        _turn_into_gradient(logits, targets[part], importance[part], nll[part])
        grad_hidden[part] = (logits @ cast).to(hidden.dtype)
        found = logits.T @ hidden[part].to(dtype)
        grad_weight = found.to(weight.dtype) if grad_weight is None else grad_weight.add_(found)
    return grad_hidden, torch.zeros_like(weight) if grad_weight is None else grad_weight


def _iterate_logits(hidden: Tensor, cast: Tensor, chunk: int) -> Iterator[tuple[slice, Tensor]]:
    """The logits of some positions at a time, all in the same memory."""
    # On a GPU each row begins at a multiple of 64 numbers: tensor cores read no others at full speed, and GPT-2's
    # vocabulary is odd. The weights stay as they are.
    width = -(-len(cast) // _ALIGNED) * _ALIGNED if cast.device.type == "cuda" else len(cast)
    buffer = torch.empty(min(chunk, len(hidden)), width, dtype=cast.dtype, device=cast.device)[:, : len(cast)]
    for start in range(0, len(hidden), chunk):
        part = slice(start, min(start + chunk, len(hidden)))
        logits = buffer[: part.stop - start]
        yield part, torch.mm(hidden[part].to(cast.dtype), cast.T, out=logits)


def _turn_into_gradient(logits: Tensor, targets: Tensor, importance: Tensor | None, nll: Tensor) -> None:
    """Fills `nll`; turns logits into `importance * (softmax(logits) - one_hot(targets))` in place, in float32 inside.

    Args:
        importance: `None` where no gradient is wanted: the logits are left as they are.
    """
    rows = min(_CACHED if logits.device.type == "cpu" else len(logits), len(logits))
    buffer = torch.empty(rows, logits.shape[1], dtype=torch.float32, device=logits.device)
    for start in range(0, len(logits), rows or 1):
        part = slice(start, min(start + rows, len(logits)))
        exact = buffer[: part.stop - start].copy_(logits[part])
        target = targets[part, None]
        chosen, highest = exact.gather(1, target), exact.amax(1, keepdim=True)
        total = exact.sub_(highest).exp_().sum(1, keepdim=True)
        nll[part] = (total.log() + highest - chosen).squeeze(1)
        if importance is not None:
            share = importance[part, None]
            exact.mul_(share / total).scatter_add_(1, target, -share)
            logits[part].copy_(exact)
