"""The likelihood of each row's reference, apart for prompt, question, answer and end."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from lightning_med.evaluation.likelihood.reference_batches import ReferenceBatch, make_reference_batches
from lightning_med.evaluation.statistic import Statistic, divide, make_mean, make_ratio
from lightning_med.model.causal_lm import compute_token_nll
from lightning_med.model.execution import choose_execution, get_context_length
from lightning_med.tokenization.consultation import ANSWER, EncodedConsultation
from lightning_med.tokenization.encoder import Encoder

FIRST = 10  # tokens of an answer that count as its beginning


@dataclass(frozen=True)
class RowLikelihood:
    """Negative log-likelihoods (nats, float64 sums) of a row's parts, and their numbers of tokens.

    A sum that is not finite is `None`: JSON has no such number.

    Attributes:
        answer, answer_tokens: Of the answer without its end.
        first, first_tokens: Of its first `FIRST` tokens.
        end, end_tokens: Of its end; no token where the answer was cut.
        rest, rest_tokens: Of system prompt, question and what stands between; the row's first token is not predicted.
        answer_bytes: UTF-8 bytes of the answer.
        cut: Whether the row was cut to the maximal length.
    """

    answer: float | None
    answer_tokens: int
    first: float | None
    first_tokens: int
    end: float | None
    end_tokens: int
    rest: float | None
    rest_tokens: int
    answer_bytes: int
    cut: bool


def measure_rows(
    network: PreTrainedModel,
    encoder: Encoder,
    questions: Sequence[str],
    answers: Sequence[str],
    done: Collection[int] = (),
) -> Iterator[dict[int, dict[str, Any]]]:
    """Measures references batch by batch.

    Args:
        network: In evaluation mode.
        encoder: With the network's prompt, tokenizer and maximal length.
        questions, answers: `[rows]`.
        done: Rows that are not needed; see `make_reference_batches`.

    Yields:
        The fields of `RowLikelihood` by row.
    """
    choose_execution(network, min(get_context_length(network), encoder.max_length))
    for batch in make_reference_batches(encoder, questions, answers, done):
        moved = {
            name: value.to(network.device) if isinstance(value, torch.Tensor) else value
            for name, value in batch.inputs.items()
        }
        nll = compute_token_nll(network, moved).cpu().double().numpy()
        yield {row: asdict(each) for row, each in zip(batch.rows, split_rows(batch, nll, encoder.stops), strict=True)}


def measure_all_rows(
    network: PreTrainedModel, encoder: Encoder, questions: Sequence[str], answers: Sequence[str]
) -> list[dict[str, Any]]:
    """Returns what `measure_rows` yields, of all rows in order."""
    found: dict[int, dict[str, Any]] = {}
    for batch in measure_rows(network, encoder, questions, answers):
        found |= batch
    return [found[row] for row in range(len(questions))]


def split_rows(batch: ReferenceBatch, nll: np.ndarray, stops: list[int]) -> Iterator[RowLikelihood]:
    """Yields each row's sums; `nll` is `[targets]`."""
    start = 0
    for row in batch.encoded:
        own = nll[start : start + len(row.input_ids) - 1]
        start += len(own)
        yield _sum_row(row, own, stops)


def _sum_row(row: EncodedConsultation, nll: np.ndarray, stops: list[int]) -> RowLikelihood:
    answered = row.parts[1:] == ANSWER
    ends = answered & np.isin(row.input_ids[1:], stops)  # no text of an answer yields a control token
    answer = nll[answered & ~ends]
    first = answer[:FIRST]
    return RowLikelihood(
        *(_sum(answer), len(answer), _sum(first), len(first)),
        *(_sum(nll[ends]), int(ends.sum()), _sum(nll[~answered]), int((~answered).sum())),
        *(row.answer_bytes, row.cut),
    )


def _sum(nll: np.ndarray) -> float | None:
    total = float(nll.sum())
    return total if math.isfinite(total) else None


def compute_loss(row: Mapping[str, Any]) -> float | None:
    """Returns the loss of a row's answer with its end, in nats per token; `None` where there is none.

    Args:
        row: With the fields of `RowLikelihood`.
    """
    tokens = row["answer_tokens"] + row["end_tokens"]
    if not tokens or row["answer"] is None or row["end"] is None:
        return None
    return float((row["answer"] + row["end"]) / tokens)


def summarize_rows(rows: Sequence[dict[str, Any]]) -> dict[str, Statistic]:
    """Returns the metrics of likelihood; see `lightning_med.evaluation.metric_list`.

    Args:
        rows: With the fields of `RowLikelihood`, of all rows in order.
    """
    names = [field.name for field in fields(RowLikelihood)]
    values = {name: np.array([row[name] for row in rows], np.float64) for name in names}  # `None` becomes NaN
    nll, tokens = values["answer"] + values["end"], values["answer_tokens"] + values["end_tokens"]
    everything, all_tokens = nll + values["rest"], tokens + values["rest_tokens"]
    with np.errstate(all="ignore"):
        row_perplexity = np.exp(nll / tokens)
    return {
        "nll": make_ratio(nll, tokens),
        "perplexity": _make_perplexity(nll, tokens),
        "row_perplexity": make_mean(row_perplexity),
        "bits_per_byte": make_ratio(nll / np.log(2), values["answer_bytes"]),
        "first_tokens_nll": make_ratio(values["first"], values["first_tokens"]),
        "later_tokens_nll": make_ratio(
            values["answer"] - values["first"], values["answer_tokens"] - values["first_tokens"]
        ),
        "end_nll": make_ratio(values["end"], values["end_tokens"]),
        "all_tokens_nll": make_ratio(everything, all_tokens),
        "all_tokens_perplexity": _make_perplexity(everything, all_tokens),
    }


def _make_perplexity(nll: np.ndarray, tokens: np.ndarray) -> Statistic:
    def combine(sums: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(np.exp(divide(sums)))

    return Statistic(make_ratio(nll, tokens).columns, combine)
