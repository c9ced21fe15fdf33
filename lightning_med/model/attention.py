"""Attention inside each consultation of a flat batch, as an attention function of transformers."""

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

NAME = "lightning_med"
_VARLEN_TYPES = (torch.float16, torch.bfloat16)
_AMPERE = (8, 0)  # the first cards with the varlen kernel
_WIDEST_HEAD = 256


@dataclass(frozen=True)
class DocumentBounds:
    """Where the consultations of a flat batch lie.

    Attributes:
        boundaries: Tokens before each consultation and after the last.
        offsets: `[consultations + 1]`, int32, the same on the batch's device: a kernel reads them without a wait.
    """

    boundaries: list[int]
    offsets: Tensor

    @property
    def sizes(self) -> list[int]:
        """Tokens of each consultation."""
        return [after - before for before, after in pairwise(self.boundaries)]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    documents: DocumentBounds | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention that never looks across a boundary; without documents, that of transformers.

    Args:
        module: The model's attention layer.
        query: `[1, heads, tokens, size]`; `key` and `value` may have fewer heads.
        attention_mask: Ignored where `documents` are given.
        dropout: Probability on the attention's weights.
        scaling: Factor on the scores; `size ** -0.5` where `None`.
        documents: Of a flat batch.

    Returns:
        `[1, tokens, heads, size]`, and `None` where transformers allows the weights.
    """
    if documents is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    return _attend_within(query, key, value, dropout, scaling or query.shape[-1] ** -0.5, documents), None


@torch.compiler.disable  # what lies inside changes with every batch; a compiled network would be compiled anew
def _attend_within(
    query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float, documents: DocumentBounds
) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    if _is_on_cpu(query) and not dropout:
        return _CausalAttention.apply(query, key, value, documents.boundaries, scaling).transpose(1, 2)  # type: ignore[no-any-return]
    kernel = find_varlen()
    if kernel is not None and not dropout and varlen_supports(query):
        q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
        return kernel(q, k, v, documents.offsets, max(documents.sizes), scaling)[None]
    sizes = documents.sizes
    # One split a tensor, not one slice a consultation: its backward writes each gradient once.
    parts = zip(query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True)
    outputs = [scaled_dot_product_attention(q, k, v, None, dropout, is_causal=True, scale=scaling) for q, k, v in parts]
    return torch.cat(outputs, dim=2).transpose(1, 2)


def _is_on_cpu(query: Tensor) -> bool:
    return query.device.type == "cpu"


def varlen_supports(query: Tensor) -> bool:
    """Whether torch's kernel for documents of any length takes this: its card, precision and size."""
    return (
        query.device.type == "cuda"
        and query.dtype in _VARLEN_TYPES
        and query.shape[-1] <= _WIDEST_HEAD
        and torch.version.hip is None
        and torch.cuda.get_device_capability(query.device) >= _AMPERE
    )


@lru_cache(maxsize=1)
def find_varlen() -> Callable[[Tensor, Tensor, Tensor, Tensor, int, float], Tensor] | None:
    """`torch.nn.attention.varlen`, causal, called alike in all releases; `None` where this torch has none.

    It takes `[tokens, heads, size]`, the offsets, the longest document and the factor on the scores.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    # 2.10 says `is_causal`; later releases say how far to the left and right a token looks.
    causal: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}

    def call(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, scaling: float) -> Tensor:
        if "scale" in known:
            scale: dict[str, Any] = {"scale": scaling}
        else:  # its own factor is size ** -0.5
            query, scale = query * (scaling * query.shape[-1] ** 0.5), {}
        return varlen_attn(query, key, value, offsets, offsets, longest, longest, **causal, **scale)  # type: ignore[return-value]

    return call


class _CausalAttention(torch.autograd.Function):
    """Causal attention of each consultation with its probabilities kept.

    At the length of consultations (a few hundred tokens) three plain products forward and backward take half of the
    time of the processor's flash kernel, which computes the scores twice; the probabilities are small.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, boundaries: list[int], scaling: float) -> Tensor:
        ctx.spans, ctx.scaling = list(pairwise(boundaries)), scaling
        output = torch.empty_like(query)
        kept = []
        for start, end in ctx.spans:
            span = slice(start, end)
            scores = query[0, :, span] @ key[0, :, span].transpose(1, 2)
            later = torch.ones(end - start, end - start, dtype=torch.bool).triu_(1)
            chances = scores.mul_(scaling).masked_fill_(later, float("-inf")).softmax(-1)
            output[0, :, span] = chances @ value[0, :, span]
            kept.append(chances)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(query, key, value, *kept)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        gradients = [torch.empty_like(tensor) for tensor in (query, key, value)]
        for (start, end), chances in zip(ctx.spans, kept, strict=True):
            span = slice(start, end)
            own = gradient[0, :, span]
            gradients[2][0, :, span] = chances.transpose(1, 2) @ own
            scores = torch._softmax_backward_data(own @ value[0, :, span].transpose(1, 2), chances, -1, chances.dtype)
            scores.mul_(ctx.scaling)
            gradients[0][0, :, span] = scores @ key[0, :, span]
            gradients[1][0, :, span] = scores.transpose(1, 2) @ query[0, :, span]
        return *gradients, None, None


def make_flat_mask() -> Tensor:
    """A four-dimensional mask: transformers takes it as made and builds none of `[tokens, tokens]`."""
    return torch.empty(1, 1, 1, 1)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
