"""Attention of one new token in each of many slots, for generation on a processor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

SLOT_ATTENTION = "lightning_med_slots"  # for the `attn_implementation` of transformers
_PLAIN = ("softcap", "s_aux")  # arguments that change the scores


def attend_slots(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Computes what transformers' `sdpa` does, to the last bit.

    torch's kernel for processors takes twice as long for one query in bfloat16 as for two. Where heads share keys,
    transformers gives it their queries together; where they do not, each query is given twice here.

    Args:
        module: The layer.
        query: `[slots, heads, tokens, width]`.
        key: `[slots, heads of keys, positions, width]`.
        value: Likewise.
        attention_mask: `[slots, 1, tokens, positions]`, true where a token may look.
        scaling: Of the scores.
        kwargs: As transformers gives them.

    Returns:
        `[slots, tokens, heads, width]`, and no weights.
    """
    is_plain = all(kwargs.get(name) is None for name in _PLAIN) and query.shape[1:3] == (key.shape[1], 1)
    if query.dtype == torch.float32 or query.device.type != "cpu" or not is_plain:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    twice = query.expand(-1, -1, 2, -1)
    output = nn.functional.scaled_dot_product_attention(twice, key, value, attn_mask=attention_mask, scale=scaling)
    return output[:, :, :1].transpose(1, 2).contiguous(), None


AttentionInterface.register(SLOT_ATTENTION, attend_slots)
AttentionMaskInterface.register(SLOT_ATTENTION, sdpa_mask)
