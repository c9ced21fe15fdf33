"""AnswerLikelihood sums over tokens, so that the batching does not matter."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.model.perplexity import AnswerLikelihood

NATS = st.floats(0, 20, width=32)


@given(st.lists(st.lists(NATS, max_size=9), min_size=1, max_size=8).filter(any))
def test_perplexity_is_the_same_under_any_batching(batches: list[list[float]]) -> None:
    values = [value for batch in batches for value in batch]
    metric = AnswerLikelihood()
    for batch in batches:
        metric.update(torch.tensor(batch), answer_bytes=3 * len(batch))
    result = metric.compute()
    mean = math.fsum(values) / len(values)
    assert result["loss"] == pytest.approx(mean, rel=1e-12, abs=1e-15)
    assert result["perplexity"] == pytest.approx(math.exp(mean), rel=1e-9)
    assert result["bits_per_byte"] == pytest.approx(math.fsum(values) / math.log(2) / (3 * len(values)), rel=1e-12)
    assert result["tokens"] == len(values)


def test_counts_go_on_above_two_to_the_24() -> None:
    metric = AnswerLikelihood()
    metric.update(torch.zeros(1).expand(2**24), answer_bytes=2**31)
    for _ in range(3):
        metric.update(torch.ones(1), answer_bytes=1)
    assert metric.compute()["tokens"] == 2**24 + 3
    assert metric.compute()["loss"] == pytest.approx(3 / (2**24 + 3), rel=1e-12)
    assert int(metric.bytes) == 2**31 + 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_values_are_summed_exactly(dtype: torch.dtype) -> None:
    metric = AnswerLikelihood()
    metric.update(torch.full((70_000,), 1.5, dtype=dtype), answer_bytes=1)  # float16 alone would end at 65,504
    assert metric.compute()["loss"] == 1.5


def test_bits_per_byte_asks_how_many_bytes_were_predicted() -> None:
    metric = AnswerLikelihood()
    metric.update(torch.tensor([math.log(2)] * 8), answer_bytes=4)
    assert metric.compute()["bits_per_byte"] == pytest.approx(2.0)


def test_nothing_seen_is_nan_not_a_number_that_looks_good() -> None:
    result = AnswerLikelihood().compute()
    assert result["tokens"] == 0
    assert all(math.isnan(result[name]) for name in ("loss", "perplexity", "bits_per_byte"))


def test_reset_forgets() -> None:
    metric = AnswerLikelihood()
    metric.update(torch.tensor([9.0]), answer_bytes=1)
    metric.reset()
    metric.update(torch.tensor([1.0]), answer_bytes=1)
    assert metric.compute()["loss"] == 1.0
    assert metric.compute()["tokens"] == 1


def test_a_hopeless_model_has_infinite_perplexity_not_an_error() -> None:
    metric = AnswerLikelihood()
    metric.update(torch.tensor([2000.0]), answer_bytes=1)
    assert metric.compute()["perplexity"] == math.inf


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_of_the_whole_module_keeps_the_sums(dtype: torch.dtype) -> None:
    """As trainers do for `bf16-true`: the sums of a resumed fit must not be rounded."""
    metric = AnswerLikelihood()
    metric.update(torch.tensor([11346.03125]), 7)
    module = torch.nn.ModuleDict({"metric": metric, "layer": torch.nn.Linear(1, 1)}).to(dtype)
    assert module["layer"].weight.dtype == dtype
    assert metric.get_sums() == {"nll": 11346.03125, "tokens": 1, "bytes": 7}
    metric.reset()
    assert metric.nll.dtype == torch.float64
