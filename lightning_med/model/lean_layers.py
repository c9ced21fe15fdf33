"""Layers of Llama's kind that keep less for the backward pass than those of transformers, with the same results.

Under autocast transformers keeps of a normalization the input, the normalized input in float32, and a copy in bfloat16
for each linear layer that reads it; of a gated unit four tensors. Here it is the input and one copy, and three: what is
cheap is computed again. Layers are recognized by what they compute, not by the name of their family.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NORMS = ("input_layernorm", "post_attention_layernorm")  # names in a block; linear layers alone read their outputs
_GATED = ("gate_proj", "up_proj", "down_proj", "act_fn")  # names in a gated unit
_TOLERANCE = 1e-5  # between a layer and its replacement, in float32


class LeanRMSNorm(nn.Module):
    """Root mean square normalization (Zhang & Sennrich, 2019, arXiv:1910.07467) that keeps only its input.

    Under autocast its output has the dtype of autocast, so that linear layers need not each make a copy.

    Args:
        weight: `[width]`, the weight of the layer that is replaced.
        eps: Added to the mean square.
    """

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, hidden: Tensor) -> Tensor:
        kind, dtype = hidden.device.type, hidden.dtype
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
        return _RMSNormFunction.apply(hidden, self.weight, self.eps, dtype)  # type: ignore[no-any-return]


class _RMSNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        scale = hidden.float().square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(hidden, weight, scale)
        return (hidden * scale).mul_(weight).to(dtype)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, scale = ctx.saved_tensors
        normalized = hidden * scale
        gradient = grad_output.to(normalized.dtype)
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = (gradient * normalized).flatten(0, -2).sum(0).to(weight.dtype)
        gradient = gradient * weight
        gradient -= normalized * (gradient * normalized).mean(-1, keepdim=True)
        return gradient.mul_(scale).to(hidden.dtype), grad_weight, None, None


class LeanGatedUnit(nn.Module):
    """The gated unit `down(silu(gate(x)) * up(x))` (Shazeer, 2020, arXiv:2002.05202); keeps no `silu(gate(x))`.

    Args:
        layer: The layer that is replaced; its linear layers are shared and keep their names.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj, self.act_fn = (getattr(layer, name) for name in _GATED)

    def forward(self, hidden: Tensor) -> Tensor:
        product: Tensor = _GatedProduct.apply(self.gate_proj(hidden), self.up_proj(hidden))  # type: ignore[assignment]
        return self.down_proj(product)  # type: ignore[no-any-return]


class _GatedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        grad_up = torch.nn.functional.silu(gate).mul_(grad_output)
        return torch.ops.aten.silu_backward(grad_output * up, gate), grad_up


def replace_lean_layers(network: PreTrainedModel) -> None:
    """Replaces normalizations and gated units in place where the replacement computes the same; names stay."""
    for block in list(network.modules()):
        for name, child in list(block.named_children()):
            lean = _make_lean(block, name, child)
            if lean is not None and _computes_the_same(child, lean):
                setattr(block, name, lean)


def _make_lean(block: nn.Module, name: str, layer: nn.Module) -> nn.Module | None:
    """Returns the replacement of a layer that may be a normalization or a gated unit; `None` for other layers."""
    if _is_gated_unit(layer):
        return LeanGatedUnit(layer)
    parameters = dict(layer.named_parameters())
    if name not in _NORMS or parameters.keys() != {"weight"}:
        return None
    # Experts add up in the dtype of their input, and further norms stand behind a branch: those stay in float32.
    children = dict(block.named_children())
    norms = {child for child in children if "norm" in child}
    if norms != set(_NORMS) or not any(_is_gated_unit(child) for child in children.values()):
        return None
    eps = getattr(layer, "variance_epsilon", getattr(layer, "eps", None))
    return LeanRMSNorm(parameters["weight"], eps) if isinstance(eps, float) else None  # type: ignore[arg-type]


def _is_gated_unit(layer: nn.Module) -> bool:
    children = dict(layer.named_children())
    return children.keys() == set(_GATED) and all(isinstance(children[name], nn.Linear) for name in _GATED[:3])


@torch.no_grad()
def _computes_the_same(layer: nn.Module, lean: nn.Module) -> bool:
    weight = next(layer.parameters())
    generator = torch.Generator("cpu").manual_seed(0)  # devices named: a trainer makes its own the default one
    hidden = torch.randn(4, weight.shape[-1], generator=generator, device="cpu").to(weight.device, weight.dtype)
    hidden[2:] *= 1e-3  # where a small `eps` counts
    expected, found = layer(hidden), lean(hidden)
    return all(
        bool((e - f).norm() + e.norm() > 0 and (e - f).norm() <= _TOLERANCE * e.norm())
        for e, f in zip(expected.split(2), found.split(2), strict=True)
    )
