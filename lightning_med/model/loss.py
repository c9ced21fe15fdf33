"""Memory-efficient cross-entropy over the target tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

CHUNK = 2048  # positions whose logits are in memory at once: 206 MB in bfloat16 with GPT-2's vocabulary
_ALIGNMENT = 64  # elements, of a row of logits on a GPU
_CPU_ROWS = 64  # rows of logits converted to float32 at once on a CPU: about what its cache holds


@dataclass(frozen=True)
class OutputRule:
    """How an output layer turns hidden states into logits: `cap(scale * hidden @ weight.T + bias)`.

    Attributes:
        scale: Factor of the products.
        softcap: Bound of the logits, `softcap * tanh(logits / softcap)`; `None` for none.
    """

    scale: float = 1.0
    softcap: float | None = None


PLAIN = OutputRule()


def compute_answer_nll(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    loss_weights: Tensor | None = None,
    chunk: int = CHUNK,
    bias: Tensor | None = None,
    rule: OutputRule = PLAIN,
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
        bias: `[vocab_size]`, of the output layer; `None` for none.
        rule: Scale and soft cap of the logits.

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
        hidden, weight, bias = hidden.detach(), weight.detach(), None if bias is None else bias.detach()
    if rule.scale != 1:
        hidden = hidden * rule.scale
    with torch.autocast(hidden.device.type, enabled=False):
        head = _Head(dtype, chunk, rule.softcap)
        total, nll = _AnswerNLL.apply(hidden, weight, bias, targets, loss_weights.float(), head)
    return total, nll


@dataclass(frozen=True)
class _Head:
    """Settings of the computation.

    Attributes:
        dtype: Of the logits.
        chunk: Positions whose logits are in memory at once.
        softcap: Of the logits.
        trains_weight: Whether the output layer's weight needs a gradient; that is a third of this file's work.
    """

    dtype: torch.dtype
    chunk: int
    softcap: float | None
    trains_weight: bool = True


class _AnswerNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        loss_weights: Tensor,
        head: _Head,
    ) -> tuple[Tensor, Tensor]:
        needs_gradient = any(ctx.needs_input_grad[:3])
        ctx.has_gradients = needs_gradient and head.dtype != torch.float16
        ctx.head = head = replace(head, trains_weight=ctx.needs_input_grad[1])
        nll = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        if ctx.has_gradients:
            ctx.save_for_backward(*_compute_gradients(hidden, weight, bias, targets, loss_weights, nll, head))
        else:
            for part, logits in _iterate_logits(hidden, weight.to(head.dtype), bias, head.chunk):
                _convert_to_gradients(logits, targets[part], None, nll[part], head.softcap)
            if needs_gradient:
                ctx.save_for_backward(hidden, weight, bias, targets, loss_weights)
        ctx.mark_non_differentiable(nll)
        return (nll * loss_weights).sum(), nll

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, grad_nll: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.has_gradients:
            # Backward runs once per forward, so the buffers may be scaled in place; a second call raises.
            gradients = [None if grad is None else grad.mul_(grad_total) for grad in ctx.saved_tensors]
        else:
            hidden, weight, bias, targets, loss_weights = ctx.saved_tensors
            nll = torch.empty_like(loss_weights)
            weighted = loss_weights * grad_total
            gradients = list(_compute_gradients(hidden, weight, bias, targets, weighted, nll, ctx.head))
        return *gradients, None, None, None


def _compute_gradients(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    loss_weights: Tensor,
    nll: Tensor,
    head: _Head,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns the gradients of `hidden`, `weight` and `bias`, in their dtypes, and fills `nll`."""
    cast = weight.to(head.dtype)
    grad_hidden, grad_weight = torch.empty_like(hidden), None
    grad_bias = None if bias is None else torch.zeros_like(bias)
    for part, logits in _iterate_logits(hidden, cast, bias, head.chunk):
        _convert_to_gradients(logits, targets[part], loss_weights[part], nll[part], head.softcap)
        grad_hidden[part] = (logits @ cast).to(hidden.dtype)
        if head.trains_weight:
            product = logits.T @ hidden[part].to(head.dtype)
            grad_weight = product.to(weight.dtype) if grad_weight is None else grad_weight.add_(product)
        if grad_bias is not None:
            grad_bias += logits.sum(0, dtype=torch.float32)
    if grad_weight is None and head.trains_weight:  # no targets
        grad_weight = torch.zeros_like(weight)
    return grad_hidden, grad_weight, grad_bias


def _iterate_logits(hidden: Tensor, cast: Tensor, bias: Tensor | None, chunk: int) -> Iterator[tuple[slice, Tensor]]:
    """Yields chunks of positions and their logits, `[chunk, vocab_size]`; all chunks share one buffer."""
    # On a GPU rows are padded: tensor cores need aligned rows for full speed, and GPT-2's vocabulary has an odd size.
    width = -(-len(cast) // _ALIGNMENT) * _ALIGNMENT if cast.device.type == "cuda" else len(cast)
    buffer = torch.empty(min(chunk, len(hidden)), width, dtype=cast.dtype, device=cast.device)[:, : len(cast)]
    for start in range(0, len(hidden), chunk):
        part = slice(start, min(start + chunk, len(hidden)))
        logits = torch.mm(hidden[part].to(cast.dtype), cast.T, out=buffer[: part.stop - start])
        yield part, logits if bias is None else logits.add_(bias)


def _convert_to_gradients(
    logits: Tensor, targets: Tensor, loss_weights: Tensor | None, nll: Tensor, softcap: float | None
) -> None:
    """Fills `nll` and overwrites the logits with the gradient of `loss_weights * nll` with respect to them.

    Without a soft cap that is `loss_weights * (softmax(logits) - one_hot(targets))`.

    Args:
        logits: `[positions, vocab_size]`, before the soft cap; computations on them are in float32.
        targets: `[positions]`, int64.
        loss_weights: `[positions]`; `None` leaves the logits unchanged.
        nll: `[positions]`, float32.
        softcap: See `OutputRule`.
    """
    rows = min(_CPU_ROWS if logits.device.type == "cpu" else len(logits), len(logits))
    buffer = torch.empty(rows, logits.shape[1], dtype=torch.float32, device=logits.device)
    for start in range(0, len(logits), rows or 1):
        part = slice(start, min(start + rows, len(logits)))
        values, slope = buffer[: part.stop - start].copy_(logits[part]), None
        if softcap is not None:
            values.div_(softcap).tanh_()
            slope = 1 - values.square()
            values.mul_(softcap)
        target = targets[part, None]
        target_logit, highest = values.gather(1, target), values.amax(1, keepdim=True)
        total = values.sub_(highest).exp_().sum(1, keepdim=True)
        nll[part] = (total.log() + highest - target_logit).squeeze(1)
        if loss_weights is not None:
            weights = loss_weights[part, None]
            values.mul_(weights / total).scatter_add_(1, target, -weights)
            logits[part].copy_(values if slope is None else values.mul_(slope))
