"""Memory-efficient cross-entropy over the target tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

CHUNK = 2048  # positions whose logits are in memory at once: 206 MB in bfloat16 with GPT-2's vocabulary
_ALIGNMENT = 64  # elements, of a row of logits on a GPU
_CPU_ROWS = 64  # rows of logits converted to float32 at once on a CPU: about what its cache holds


def compute_answer_nll(
    hidden: Tensor, weight: Tensor, targets: Tensor, loss_weights: Tensor | None = None, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """Computes the negative log-likelihood of target tokens without holding all logits in memory.

    Gradients are computed in the forward pass, chunk by chunk and in the memory of the logits, so that logits are
    neither stored nor recomputed. In float16 they are computed in the backward pass instead: only there is the factor
    of the gradient scaler known, without which small gradients would underflow.
    The method is that of Liger Kernel's fused linear cross-entropy (Hsu et al., 2024, arXiv:2410.10989).

    Args:
        hidden: `[positions, width]`, the hidden states that predict the targets; any floating dtype.
        weight: `[vocab_size, width]`, weight of the output layer.
        targets: `[positions]`, int64 token ids.
        loss_weights: `[positions]`, weight of each target in the sum; `None` for 1.
        chunk: Positions whose logits are in memory at once: `chunk * vocab_size` numbers of the compute dtype.

    Returns:
        `sum(loss_weights * nll)`, a float32 scalar in nats with gradient, and `nll`, `[positions]`, float32, without
        gradient. To get a mean, divide by the number of tokens after summing over batches and ranks.

    Raises:
        ValueError: `hidden` and `targets` differ in length.
    """
    if len(hidden) != len(targets):
        raise ValueError(f"hidden has {len(hidden)} positions, targets {len(targets)}")
    dtype = hidden.dtype
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
    if loss_weights is None:
        loss_weights = torch.ones(len(targets), device=hidden.device)
    if not torch.is_grad_enabled():  # `ctx.needs_input_grad` is true for parameters even under `torch.no_grad`
        hidden, weight = hidden.detach(), weight.detach()
    with torch.autocast(hidden.device.type, enabled=False):
        total, nll = _AnswerNLL.apply(hidden, weight, targets, loss_weights.float(), chunk, dtype)
    return total, nll


class _AnswerNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, loss_weights: Tensor, chunk: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        needs_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        ctx.has_gradients = needs_gradient and dtype != torch.float16
        ctx.chunk, ctx.dtype = chunk, dtype
        nll = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        if ctx.has_gradients:
            ctx.save_for_backward(*_compute_gradients(hidden, weight, targets, loss_weights, nll, chunk, dtype))
        else:
            for part, logits in _iterate_logits(hidden, weight.to(dtype), chunk):
                _convert_to_gradients(logits, targets[part], None, nll[part])
            if needs_gradient:
                ctx.save_for_backward(hidden, weight, targets, loss_weights)
        ctx.mark_non_differentiable(nll)
        return (nll * loss_weights).sum(), nll

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, grad_nll: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.has_gradients:
            grad_hidden, grad_weight = ctx.saved_tensors
            # Backward runs once per forward, so the buffers may be scaled in place; a second call raises.
            return grad_hidden.mul_(grad_total), grad_weight.mul_(grad_total), None, None, None, None
        hidden, weight, targets, loss_weights = ctx.saved_tensors
        nll = torch.empty_like(loss_weights)
        gradients = _compute_gradients(hidden, weight, targets, loss_weights * grad_total, nll, ctx.chunk, ctx.dtype)
        return *gradients, None, None, None, None


def _compute_gradients(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    loss_weights: Tensor,
    nll: Tensor,
    chunk: int,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of `hidden` and `weight`, in their dtypes, and fills `nll`; products are in `dtype`."""
    cast = weight.to(dtype)
    grad_hidden, grad_weight = torch.empty_like(hidden), None
    for part, logits in _iterate_logits(hidden, cast, chunk):
        _convert_to_gradients(logits, targets[part], loss_weights[part], nll[part])
        grad_hidden[part] = (logits @ cast).to(hidden.dtype)
        product = logits.T @ hidden[part].to(dtype)
        grad_weight = product.to(weight.dtype) if grad_weight is None else grad_weight.add_(product)
    return grad_hidden, torch.zeros_like(weight) if grad_weight is None else grad_weight


def _iterate_logits(hidden: Tensor, cast: Tensor, chunk: int) -> Iterator[tuple[slice, Tensor]]:
    """Yields chunks of positions and their logits, `[chunk, vocab_size]`; all chunks share one buffer."""
    # On a GPU rows are padded: tensor cores need aligned rows for full speed, and GPT-2's vocabulary has an odd size.
    width = -(-len(cast) // _ALIGNMENT) * _ALIGNMENT if cast.device.type == "cuda" else len(cast)
    buffer = torch.empty(min(chunk, len(hidden)), width, dtype=cast.dtype, device=cast.device)[:, : len(cast)]
    for start in range(0, len(hidden), chunk):
        part = slice(start, min(start + chunk, len(hidden)))
        logits = buffer[: part.stop - start]
        yield part, torch.mm(hidden[part].to(cast.dtype), cast.T, out=logits)


def _convert_to_gradients(logits: Tensor, targets: Tensor, loss_weights: Tensor | None, nll: Tensor) -> None:
    """Fills `nll` and overwrites the logits with `loss_weights * (softmax(logits) - one_hot(targets))`.

    Args:
        logits: `[positions, vocab_size]`; computations on them are in float32.
        targets: `[positions]`, int64.
        loss_weights: `[positions]`; `None` leaves the logits unchanged.
        nll: `[positions]`, float32.
    """
    rows = min(_CPU_ROWS if logits.device.type == "cpu" else len(logits), len(logits))
    buffer = torch.empty(rows, logits.shape[1], dtype=torch.float32, device=logits.device)
    for start in range(0, len(logits), rows or 1):
        part = slice(start, min(start + rows, len(logits)))
        values = buffer[: part.stop - start].copy_(logits[part])
        target = targets[part, None]
        target_logit, highest = values.gather(1, target), values.amax(1, keepdim=True)
        total = values.sub_(highest).exp_().sum(1, keepdim=True)
        nll[part] = (total.log() + highest - target_logit).squeeze(1)
        if loss_weights is not None:
            weights = loss_weights[part, None]
            values.mul_(weights / total).scatter_add_(1, target, -weights)
            logits[part].copy_(values)
