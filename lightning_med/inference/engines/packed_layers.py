"""Linear layers for generation on a processor: their weights lie in memory in the order in which they are multiplied.

torch puts a bfloat16 matrix in that order anew at each call, which takes as long as the product itself where few tokens
are read. The results are the same to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ROWS = 32  # the number of tokens at once that the order is best for


class PackedLinear(nn.Module):
    """A linear layer in bfloat16.

    Args:
        weight: `[outputs, inputs]`.
        bias: `[outputs]`, if there is one.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = torch.empty_like(weight, device="meta")  # for code that asks for its shape and type
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS)
        self._bias = bias

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns `[..., outputs]` of `[..., inputs]`."""
        return torch.ops.mkldnn._linear_pointwise(hidden, self._packed, self._bias, "none", [], "")  # type: ignore[no-any-return]


@torch.inference_mode()
def pack_linear_layers(network: PreTrainedModel) -> bool:
    """Replaces the linear layers of a network in place, for inference alone.

    Returns:
        Whether it was done: torch's operators for it are private, and exist for bfloat16 on some processors alone.
    """
    found = [
        (parent, name, layer)
        for parent in list(network.modules())
        for name, layer in parent.named_children()
        if type(layer) in (nn.Linear, Conv1D) and layer.weight.dtype == torch.bfloat16
    ]
    if network.device.type != "cpu" or not found or not _computes_the_same(found[0][2]):
        return False
    for parent, name, layer in found:
        setattr(parent, name, _pack(layer))
    return True


def _pack(layer: Any) -> PackedLinear:
    weight = layer.weight if isinstance(layer, nn.Linear) else layer.weight.T
    return PackedLinear(weight.detach(), None if layer.bias is None else layer.bias.detach())


def _computes_the_same(layer: Any) -> bool:
    size = layer.weight.shape[1] if isinstance(layer, nn.Linear) else layer.weight.shape[0]
    hidden = torch.randn(1, 3, size, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    try:
        return torch.allclose(_pack(layer)(hidden), layer(hidden), rtol=0.02, atol=0.02)
    except (AttributeError, RuntimeError):
        return False
