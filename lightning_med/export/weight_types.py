"""Casts of a network's weights to the type of an export, and whether that type can hold them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_med.utils.errors import InputError

TORCH_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def check_overflow(network: nn.Module, weight_type: str, only_trainable: bool = False) -> None:
    """Refuses a type in which a weight would become infinite: float16 ends at 65,504.

    Args:
        network: In float32, but for frozen weights that are left out.
        weight_type: `float32`, `float16`, `bfloat16`, or `q8_0`, whose blocks have a scale in float16 (the largest
            weight of a block by 127).
        only_trainable: Leaves out frozen weights, which the export of an adapter does not hold.

    Raises:
        InputError: One would.
    """
    for name, weight in network.named_parameters():
        if only_trainable and not weight.requires_grad:
            continue
        if _overflows(weight.detach(), weight_type):
            largest = float(weight.detach().abs().max())
            raise InputError(
                f"{name} has a weight of {largest:.6g}, more than {weight_type} can hold.",
                "Leave --quantize out." if weight_type not in TORCH_TYPES else "Leave --dtype out.",
            )


def _overflows(weight: Tensor, weight_type: str) -> bool:
    scaled = weight / 127 if weight_type not in TORCH_TYPES else weight
    dtype = TORCH_TYPES.get(weight_type, torch.float16)
    return bool((scaled.to(dtype).isinf() & ~weight.isinf()).any())
