"""Attention within each document, by every implementation."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lightning_med.model import attention
from lightning_med.model.attention import DocumentBounds, attend

BOUNDARIES = [0, 5, 6, 17]
HEADS, SIZE = 4, 8


def documents() -> DocumentBounds:
    return DocumentBounds(BOUNDARIES, torch.tensor(BOUNDARIES, dtype=torch.int32))


def tensors(key_heads: int = HEADS) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, heads, BOUNDARIES[-1], SIZE, requires_grad=True) for heads in (HEADS, key_heads, key_heads)]


def attend_separately(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """One SDPA call per document; `[1, tokens, heads, head_size]`."""
    repeat = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(repeat, 1) for tensor in (key, value))
    parts = [
        scaled_dot_product_attention(query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], is_causal=True, scale=scaling)
        for a, b in pairwise(BOUNDARIES)
    ]
    return torch.cat(parts, 2).transpose(1, 2)


def attend_by_formula(query: Tensor, key: Tensor, value: Tensor, window: int | None, softcap: float | None) -> Tensor:
    """Attention written out, one document at a time; `[1, tokens, heads, head_size]`."""
    outputs = []
    for a, b in pairwise(BOUNDARIES):
        q, k, v = (tensor[:, :, a:b] for tensor in (query, key, value))
        scores = q @ k.transpose(2, 3) / SIZE**0.5
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        for row in range(b - a):
            for column in range(b - a):
                if column > row or (window and column <= row - window):
                    scores[:, :, row, column] = -torch.inf
        outputs.append(scores.softmax(-1) @ v)
    return torch.cat(outputs, 2).transpose(1, 2)


def gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(1)
    return list(
        torch.autograd.grad(output, inputs, torch.randn(output.shape))
    )  # not randn_like: it would follow the strides


def check(output: Tensor, inputs: list[Tensor], scaling: float | None = None) -> None:
    expected = attend_separately(*inputs, scaling)
    torch.testing.assert_close(output, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradients(output, inputs), gradients(expected, inputs), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize("key_heads", [HEADS, 2])
def test_a_consultation_sees_itself_alone(key_heads: int, scaling: float | None) -> None:
    inputs = tensors(key_heads)
    check(attend(torch.nn.Module(), *inputs, None, scaling=scaling, documents=documents())[0], inputs, scaling)


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize(("window", "softcap"), [(3, None), (11, None), (None, 0.5), (4, 0.5)])
def test_windows_and_soft_caps_are_honoured(
    monkeypatch: pytest.MonkeyPatch, window: int | None, softcap: float | None, on_cpu: bool
) -> None:
    monkeypatch.setattr(attention, "_is_on_cpu", lambda query: on_cpu)
    inputs = tensors()
    output = attend(torch.nn.Module(), *inputs, None, sliding_window=window, softcap=softcap, documents=documents())[0]
    expected = attend_by_formula(*inputs, window, softcap)
    torch.testing.assert_close(output, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradients(output, inputs), gradients(expected, inputs), atol=1e-6, rtol=1e-5)


def test_query_and_key_take_the_dtype_of_the_value() -> None:
    query, key, value = tensors()
    output = attend(torch.nn.Module(), query, key, value.to(torch.bfloat16), None, documents=documents())[0]
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), attend_separately(query, key, value, None), atol=3e-2, rtol=3e-2)


def test_with_dropout_the_output_is_right_on_average() -> None:
    inputs = tensors()
    outputs = [attend(torch.nn.Module(), *inputs, None, 0.2, documents=documents())[0] for _ in range(3000)]
    mean = torch.stack(outputs).mean(0)
    assert not torch.equal(outputs[0], outputs[1])
    torch.testing.assert_close(mean, attend_separately(*inputs, None), atol=0.15, rtol=0)


def kernel(calls: list[dict[str, Any]], scaled: bool) -> Any:
    """A substitute for torch's kernel, which needs a GPU: with or without the argument `scale`; the result by SDPA."""

    def compute(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, scale: float | None, **options: Any) -> Tensor:
        calls.append(options)
        assert starts.dtype == torch.int32
        parts = [
            scaled_dot_product_attention(
                *(t[a:b].transpose(0, 1)[None] for t in (q, k, v)), is_causal=True, scale=scale
            )[0].transpose(0, 1)
            for a, b in pairwise(starts.tolist())
        ]
        return torch.cat(parts)

    def with_scale(
        q: Any,
        k: Any,
        v: Any,
        cu_seq_q: Any,
        cu_seq_k: Any,
        max_q: int,
        max_k: int,
        *,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
    ) -> Tensor:
        return compute(q, k, v, cu_seq_q, scale, longest=(max_q, max_k), window=window_size)

    def without_scale(*inputs: Any, window_size: tuple[int, int] = (-1, -1)) -> Tensor:
        return with_scale(*inputs, window_size=window_size)

    return with_scale if scaled else without_scale


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_the_varlen_kernel_is_given_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, scaled: bool, scaling: float | None
) -> None:
    module, calls = ModuleType("varlen"), []  # type: ignore[var-annotated]
    module.varlen_attn = kernel(calls, scaled)  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "torch.nn.attention.varlen", module)
    monkeypatch.setattr(attention, "is_varlen_supported", lambda query: True)
    monkeypatch.setattr(attention, "_is_on_cpu", lambda query: False)
    attention.find_varlen_kernel.cache_clear()
    try:
        inputs = tensors(2)
        output = attend(torch.nn.Module(), *inputs, None, scaling=scaling, documents=documents())[0]
        check(output, inputs, scaling)
        assert calls == [{"longest": (11, 11), "window": (-1, 0)}]
        attend(torch.nn.Module(), *inputs, None, 0.1, documents=documents())  # it has no dropout
        assert len(calls) == 1
        attend(torch.nn.Module(), *inputs, None, sliding_window=4, documents=documents())
        assert calls[1]["window"] == (3, 0)
    finally:
        attention.find_varlen_kernel.cache_clear()


def test_the_varlen_kernel_of_this_torch_has_known_arguments() -> None:
    import inspect

    from torch.nn.attention.varlen import varlen_attn

    parameters = list(inspect.signature(varlen_attn).parameters)
    assert parameters[:7] == ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]
    assert "window_size" in parameters


def test_a_processor_is_not_served_by_the_varlen_kernel() -> None:
    assert not attention.is_varlen_supported(torch.empty(1, 1, 1, SIZE, dtype=torch.bfloat16))
