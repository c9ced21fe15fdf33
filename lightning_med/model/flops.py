"""FLOPs that training needs, and FLOPs per second that the machine reaches: their quotient is the utilisation.

Counted is what the loss on the answers needs, forward and backward, however it is computed: the body for every real
token, attention inside each consultation, the output layer for the answers' tokens. No padding, no recomputation, no
optimizer. The model FLOP utilisation is that of Chowdhery et al., PaLM, 2022 (appendix B), against a measured peak.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

_SECONDS, _RUNS = 0.4, 400  # a shape is timed for so long, or so often, after one warm-up run


@dataclass(frozen=True)
class FlopCount:
    """FLOPs of a model, forward and backward.

    Attributes:
        body: Per token, of its matrices without the output layer.
        attention: Per square of a consultation's length; causal attention reads half of it.
        head: Per answer's token, of the output layer.
    """

    body: int
    attention: int
    head: int

    @classmethod
    def from_network(cls, network: PreTrainedModel) -> FlopCount:
        """Counts those of any causal model of transformers with plain matrices."""
        layers = [layer for layer in network.base_model.modules() if isinstance(layer, (nn.Linear, Conv1D))]
        output: Any = network.get_output_embeddings()
        config = network.config
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        # Two products of 2 FLOPs per element over half of the square, and twice as much backward.
        attention = 6 * config.num_hidden_layers * config.num_attention_heads * width
        return cls(sum(map(_count_product, layers)), attention, _count_product(output))

    def count_step(self, tokens: int, squares: int, answers: int) -> int:
        """Returns the FLOPs of a batch.

        Args:
            tokens: Real tokens, the prompt's included.
            squares: Sum of the squares of the consultations' lengths.
            answers: Tokens that are learned.
        """
        return self.body * tokens + self.attention * squares + self.head * answers


def _count_product(layer: nn.Module) -> int:
    """Returns the FLOPs per token of a linear layer: forward, and backward for the input and the weight if trained."""
    inputs, outputs = _get_shape(layer)
    return (6 if layer.weight.requires_grad else 4) * inputs * outputs


def _get_shape(layer: Any) -> tuple[int, int]:
    """Returns the inputs and outputs of a linear layer; a quantized weight has another shape."""
    if isinstance(layer, Conv1D):
        return layer.weight.shape[0], layer.weight.shape[1]
    return layer.in_features, layer.out_features


def measure_gemm_peak(network: PreTrainedModel, device: torch.device, dtype: torch.dtype) -> float:
    """Measures the FLOPs per second of the fastest matrix product of the model's own shapes.

    It takes up to a second on a CPU. A process measures a shape once: later fits take the same figure.

    Args:
        network: Gives the shapes: 2,048 tokens through the widest matrix of the body and through the output layer.
        device, dtype: Of the product.
    """
    layers = [_get_shape(layer) for layer in network.base_model.modules() if isinstance(layer, (nn.Linear, Conv1D))]
    widest = max(layers, key=math.prod)
    shapes = ((min(widest), max(widest)), _get_shape(network.get_output_embeddings()))
    threads = torch.get_num_threads()
    return max(_time_product(2048, inner, outer, device, dtype, threads) for inner, outer in shapes)


@cache  # `threads` is a part of the key: the peak depends on it
def _time_product(rows: int, inner: int, outer: int, device: torch.device, dtype: torch.dtype, threads: int) -> float:
    left = torch.randn(rows, inner, device=device, dtype=dtype)
    right = torch.randn(inner, outer, device=device, dtype=dtype)
    result = torch.empty(rows, outer, device=device, dtype=dtype)
    torch.mm(left, right, out=result)
    _synchronize(device)
    runs, start = 0, time.perf_counter()
    while runs < _RUNS and time.perf_counter() - start < _SECONDS:
        for _ in range(1 if device.type == "cpu" else 50):  # a wait for a GPU costs more than a product
            torch.mm(left, right, out=result)
            runs += 1
        _synchronize(device)
    return 2 * rows * inner * outer * runs / (time.perf_counter() - start)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
