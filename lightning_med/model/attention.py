"""Causal attention within each consultation of a flat batch, registered as an attention function of transformers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION_NAME = "lightning_med"  # for the `attn_implementation` of transformers
_VARLEN_DTYPES = (torch.float16, torch.bfloat16)
_AMPERE = (8, 0)  # lowest compute capability with the varlen kernel
_MAX_VARLEN_HEAD = 256


@dataclass(frozen=True)
class DocumentBounds:
    """Positions of the documents of a flat batch; each consultation is one document.

    Attributes:
        boundaries: Start of each document in tokens, then the end of the last: `documents + 1` numbers.
        offsets: `[documents + 1]`, int32, the same on the batch's device, so that a kernel reads them without a
            synchronization.
    """

    boundaries: list[int]
    offsets: Tensor

    @property
    def sizes(self) -> list[int]:
        """Length of each document in tokens."""
        return [after - before for before, after in pairwise(self.boundaries)]


@dataclass(frozen=True)
class ScoreRule:
    """How the scores of a document are computed; see the arguments of `attend`."""

    scaling: float
    window: int | None = None
    softcap: float | None = None

    def make_hidden(self, tokens: int, device: torch.device) -> Tensor:
        """Returns the positions that a token does not see, `[tokens, tokens]`, bool: later ones and too early ones."""
        hidden = torch.ones(tokens, tokens, dtype=torch.bool, device=device).triu_(1)
        if self.window is None or self.window >= tokens:
            return hidden
        return hidden.logical_or_(torch.ones_like(hidden).tril_(-self.window))


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    documents: DocumentBounds | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Computes causal attention within each document; without `documents`, the SDPA attention of transformers.

    Arguments of other kinds of attention (sinks, a position bias) are not used with `documents`: `find_execution`
    compares the result with the network's own attention and falls back to it where they differ.

    Args:
        module: The attention layer of the network.
        query: `[1, heads, tokens, head_size]`.
        key: `[1, key_heads, tokens, head_size]`; `key_heads` divides `heads`.
        value: As `key`.
        attention_mask: Ignored if `documents` are given.
        dropout: Dropout probability of the attention weights.
        scaling: Factor of the scores; `None` for `head_size ** -0.5`.
        sliding_window: Positions that a token sees, its own included; `None` for all before it.
        softcap: Bound of the scores, `softcap * tanh(scores / softcap)`; `None` for none (Gemma Team, 2024,
            arXiv:2408.00118).
        documents: Documents of a flat batch.

    Returns:
        The output, `[1, tokens, heads, head_size]`, and `None` for the attention weights, as transformers expects.
    """
    if documents is None:
        if softcap is not None:
            kwargs["softcap"] = softcap  # SDPA refuses it
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    # Under autocast, rotary embeddings leave query and key in float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    scores = ScoreRule(scaling or query.shape[-1] ** -0.5, sliding_window, softcap)
    return _attend_within(query, key, value, dropout, scores, documents), None


@torch.compiler.disable  # shapes inside change with every batch and would trigger a recompilation each time
def _attend_within(
    query: Tensor, key: Tensor, value: Tensor, dropout: float, scores: ScoreRule, documents: DocumentBounds
) -> Tensor:
    if _is_on_cpu(query) and not dropout and not scores.softcap:
        return _CausalAttention.apply(query, key, value, documents.boundaries, scores).transpose(1, 2)  # type: ignore[no-any-return]
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    varlen = find_varlen_kernel()
    if varlen is not None and not dropout and not scores.softcap and is_varlen_supported(query):
        q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
        return varlen(q, k, v, documents.offsets, max(documents.sizes), scores.scaling, scores.window)[None]
    sizes = documents.sizes
    # One split per tensor instead of one slice per document: its backward pass writes each gradient once.
    parts = zip(query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True)
    attend_document = _attend_with_softcap if scores.softcap else _attend_with_sdpa
    return torch.cat([attend_document(q, k, v, dropout, scores) for q, k, v in parts], dim=2).transpose(1, 2)


def _attend_with_sdpa(query: Tensor, key: Tensor, value: Tensor, dropout: float, scores: ScoreRule) -> Tensor:
    tokens = query.shape[2]
    allowed = None
    if scores.window is not None and scores.window < tokens:
        allowed = ~scores.make_hidden(tokens, query.device)
    return scaled_dot_product_attention(
        query, key, value, allowed, dropout, is_causal=allowed is None, scale=scores.scaling
    )


def _attend_with_softcap(query: Tensor, key: Tensor, value: Tensor, dropout: float, scores: ScoreRule) -> Tensor:
    assert scores.softcap is not None
    raw = query @ key.transpose(2, 3) * (scores.scaling / scores.softcap)
    hidden = scores.make_hidden(query.shape[2], query.device)
    capped = (raw.tanh() * scores.softcap).masked_fill(hidden, float("-inf"))
    probabilities = capped.softmax(-1, dtype=torch.float32).to(value.dtype)
    return torch.dropout(probabilities, dropout, train=True) @ value


def _is_on_cpu(query: Tensor) -> bool:
    return query.device.type == "cpu"


def is_varlen_supported(query: Tensor) -> bool:
    """Whether torch's variable-length kernel supports the device, dtype and head size of a query."""
    return (
        query.device.type == "cuda"
        and query.dtype in _VARLEN_DTYPES
        and query.shape[-1] <= _MAX_VARLEN_HEAD
        and torch.version.hip is None
        and torch.cuda.get_device_capability(query.device) >= _AMPERE
    )


@lru_cache(maxsize=1)
def find_varlen_kernel() -> Callable[[Tensor, Tensor, Tensor, Tensor, int, float, int | None], Tensor] | None:
    """Returns the causal variable-length attention of torch with one signature for all releases.

    Returns:
        A function of query, key and value, `[tokens, heads, head_size]`, the offsets, `[documents + 1]`, the longest
        document in tokens, the factor of the scores and the sliding window; `None` if this torch has no such kernel.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    parameters = inspect.signature(varlen_attn).parameters
    if "window_size" not in parameters:  # torch 2.10
        return None

    def call(
        query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, scaling: float, window: int | None
    ) -> Tensor:
        causal: dict[str, Any] = {"window_size": (-1 if window is None else window - 1, 0)}  # to the left and right
        if "scale" in parameters:
            scale: dict[str, Any] = {"scale": scaling}
        else:  # the kernel always scales by head_size ** -0.5
            query, scale = query * (scaling * query.shape[-1] ** 0.5), {}
        return varlen_attn(query, key, value, offsets, offsets, longest, longest, **causal, **scale)  # type: ignore[return-value]

    return call


class _CausalAttention(torch.autograd.Function):
    """Causal attention of each document by plain matrix products; keeps the attention probabilities for backward.

    At a few hundred tokens per document, plain products take half the time of the CPU's flash kernel, which computes
    the scores a second time in the backward pass, and the stored probabilities are small.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, boundaries: list[int], rule: ScoreRule) -> Tensor:
        ctx.spans, ctx.scaling = list(pairwise(boundaries)), rule.scaling
        ctx.groups = groups = query.shape[1] // key.shape[1]
        output = torch.empty_like(query)
        stored = []
        for start, end in ctx.spans:
            span = slice(start, end)
            scores = query[0, :, span] @ _repeat_heads(key, span, groups).transpose(1, 2)
            hidden = rule.make_hidden(end - start, query.device)
            probabilities = scores.mul_(rule.scaling).masked_fill_(hidden, float("-inf")).softmax(-1)
            output[0, :, span] = probabilities @ _repeat_heads(value, span, groups)
            stored.append(probabilities)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(query, key, value, *stored)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *stored = ctx.saved_tensors
        groups = ctx.groups
        grad_query, grad_key, grad_value = (torch.empty_like(tensor) for tensor in (query, key, value))
        for (start, end), probabilities in zip(ctx.spans, stored, strict=True):
            span = slice(start, end)
            grad_span = grad_output[0, :, span]
            grad_value[0, :, span] = _sum_heads(probabilities.transpose(1, 2) @ grad_span, groups)
            grad_probabilities = grad_span @ _repeat_heads(value, span, groups).transpose(1, 2)
            grad_scores = torch._softmax_backward_data(grad_probabilities, probabilities, -1, probabilities.dtype)
            grad_scores.mul_(ctx.scaling)
            grad_query[0, :, span] = grad_scores @ _repeat_heads(key, span, groups)
            grad_key[0, :, span] = _sum_heads(grad_scores.transpose(1, 2) @ query[0, :, span], groups)
        return grad_query, grad_key, grad_value, None, None


def _repeat_heads(states: Tensor, span: slice, groups: int) -> Tensor:
    """Returns keys or values of a document, `[heads, tokens, head_size]`, a head as often as queries share it."""
    part = states[0, :, span]
    return part if groups == 1 else part.repeat_interleave(groups, 0)


def _sum_heads(gradient: Tensor, groups: int) -> Tensor:
    """Sums the gradients of queries' heads that share a head of keys or values."""
    return gradient if groups == 1 else gradient.unflatten(0, (-1, groups)).sum(1)


def make_flat_mask() -> Tensor:
    """Returns a four-dimensional dummy mask: transformers passes it on instead of building one `[tokens, tokens]`."""
    return torch.empty(1, 1, 1, 1)


AttentionInterface.register(ATTENTION_NAME, attend)
AttentionMaskInterface.register(ATTENTION_NAME, sdpa_mask)
