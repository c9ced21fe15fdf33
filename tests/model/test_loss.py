"""The answers' loss equals cross-entropy in value and gradients, for any chunk size and precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_med.model.loss import OutputRule, compute_answer_nll

POSITIONS, WIDTH, VOCABULARY = 70, 16, 50


def inputs(dtype: torch.dtype = torch.float32, positions: int = POSITIONS) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, output layer, targets and loss weights."""
    generator = torch.Generator().manual_seed(positions)
    hidden = torch.randn(positions, WIDTH, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(VOCABULARY, (positions,), generator=generator)
    return hidden, weight, targets, torch.rand(positions, generator=generator)


def reference(hidden: Tensor, weight: Tensor, targets: Tensor, loss_weights: Tensor | None) -> Tensor:
    """The same sum in float64, with all logits at once."""
    nll = cross_entropy(hidden.double() @ weight.double().T, targets, reduction="none")
    return nll.sum() if loss_weights is None else (nll * loss_weights.double()).sum()


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    ours, theirs = ours.detach().double(), theirs.detach().double()
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradients_are_those_of_cross_entropy(chunk: int, weighted: bool) -> None:
    hidden, weight, targets, loss_weights = inputs()
    used = loss_weights if weighted else None
    expected = torch.autograd.grad(reference(hidden, weight, targets, used), (hidden, weight))

    total, each = compute_answer_nll(hidden, weight, targets, used, chunk=chunk)
    total.backward()

    torch.testing.assert_close(total.double(), reference(hidden, weight, targets, used), rtol=1e-6, atol=0)
    torch.testing.assert_close(each, cross_entropy(hidden @ weight.T, targets, reduction="none").detach())
    assert relative_difference(hidden.grad, expected[0]) < 1e-6
    assert relative_difference(weight.grad, expected[1]) < 1e-6
    assert total.dtype == each.dtype == torch.float32
    assert not each.requires_grad


def test_gradients_follow_what_is_done_with_the_sum() -> None:
    hidden, weight, targets, loss_weights = inputs()
    expected = torch.autograd.grad(reference(hidden, weight, targets, loss_weights) * -0.25, (hidden, weight))

    (compute_answer_nll(hidden, weight, targets, loss_weights)[0] * -0.25).backward()

    assert relative_difference(hidden.grad, expected[0]) < 1e-6
    assert relative_difference(weight.grad, expected[1]) < 1e-6


def test_gradient_is_the_slope_of_the_loss_in_float64() -> None:
    hidden, weight, targets, loss_weights = inputs(torch.float64, positions=5)
    compute_answer_nll(hidden, weight, targets, loss_weights)[0].backward()
    with torch.no_grad():
        for tensor in (hidden, weight):
            slope = torch.empty_like(tensor)
            for place in range(tensor.numel()):
                values = []
                for step in (1e-5, -1e-5):
                    tensor.view(-1)[place] += step
                    values.append(reference(hidden, weight, targets, loss_weights))
                    tensor.view(-1)[place] -= step
                slope.view(-1)[place] = (values[0] - values[1]) / 2e-5
            assert tensor.grad is not None
            assert relative_difference(tensor.grad, slope) < 1e-6


def test_a_second_backward_is_refused_rather_than_wrong() -> None:
    hidden, weight, targets, _ = inputs()
    total, _ = compute_answer_nll(hidden, weight, targets)
    (total * 2).backward(retain_graph=True)
    with pytest.raises(RuntimeError):
        total.backward()


def test_float16_keeps_gradients_that_would_vanish_without_the_scale() -> None:
    """The gradient of a loss divided by many tokens lies below float16's range; a scaler lifts it back."""
    hidden, weight, targets, loss_weights = inputs()
    hidden, weight = (t.detach().mul(0.3).half().requires_grad_() for t in (hidden, weight))
    tokens, scale = 2.0**24, 2.0**22
    wide = [t.detach().double().requires_grad_() for t in (hidden, weight)]
    expected = torch.autograd.grad(reference(*wide, targets, loss_weights) / tokens, wide)
    assert expected[0].half().eq(0).float().mean() > 0.5  # the premise: unscaled, most of it is lost

    (compute_answer_nll(hidden, weight, targets, loss_weights, chunk=16)[0] / tokens * scale).backward()

    assert hidden.grad.dtype == torch.float16
    assert relative_difference(hidden.grad.double() / scale, expected[0]) < 5e-3
    assert relative_difference(weight.grad.double() / scale, expected[1]) < 5e-3


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precisions_are_close_to_float32(dtype: torch.dtype, tolerance: float, autocast: bool) -> None:
    hidden, weight, targets, loss_weights = inputs()
    expected = torch.autograd.grad(reference(hidden, weight, targets, loss_weights), (hidden, weight))
    ours = [t.detach().clone() if autocast else t.detach().to(dtype) for t in (hidden, weight)]
    ours = [t.requires_grad_() for t in ours]

    with torch.autocast("cpu", dtype, enabled=autocast):
        total, _ = compute_answer_nll(*ours, targets, loss_weights, chunk=16)
    total.backward()

    assert total.dtype == torch.float32
    assert relative_difference(total, reference(hidden, weight, targets, loss_weights)) < tolerance
    for tensor, gradient in zip(ours, expected, strict=True):
        assert tensor.grad.dtype == tensor.dtype
        assert relative_difference(tensor.grad, gradient) < tolerance


def test_lengths_that_differ_are_refused() -> None:
    hidden, weight, targets, _ = inputs()
    with pytest.raises(ValueError, match="70"):
        compute_answer_nll(hidden, weight, targets[:-1])


def test_no_position_costs_nothing() -> None:
    hidden, weight, targets, _ = inputs(positions=0)
    total, each = compute_answer_nll(hidden, weight, targets)
    total.backward()
    assert total == 0
    assert each.shape == (0,)
    assert weight.grad.eq(0).all()


class CountProducts(TorchDispatchMode):
    """Counts matrix products."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.matmul)
        return func(*args, **(kwargs or {}))


def test_evaluation_pays_for_no_gradient() -> None:
    hidden, weight, targets, _ = inputs()
    with torch.no_grad(), CountProducts() as products:
        compute_answer_nll(hidden, weight, targets, chunk=1000)
    assert products.count == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("scale", [1.0, 0.125])
@pytest.mark.parametrize("biased", [False, True])
def test_scale_soft_cap_and_bias_of_the_output_layer(
    dtype: torch.dtype, softcap: float | None, scale: float, biased: bool
) -> None:
    hidden, weight, targets, loss_weights = inputs()
    bias = torch.linspace(-1, 1, VOCABULARY).requires_grad_() if biased else None
    logits = scale * (hidden.double() @ weight.double().T)
    if bias is not None:
        logits = logits + bias.double()
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    expected_total = (cross_entropy(logits, targets, reduction="none") * loss_weights.double()).sum()
    learned = [hidden, weight] if bias is None else [hidden, weight, bias]
    expected = torch.autograd.grad(expected_total, learned)

    with torch.autocast("cpu", torch.float16, enabled=dtype == torch.float16):
        rule = OutputRule(scale, softcap)
        total, _ = compute_answer_nll(hidden, weight, targets, loss_weights, chunk=16, bias=bias, rule=rule)
    total.backward()

    bound = 1e-6 if dtype == torch.float32 else 5e-3
    assert abs(float(total) / float(expected_total) - 1) < bound
    for ours, theirs in zip(learned, expected, strict=True):
        assert relative_difference(ours.grad, theirs) < bound
