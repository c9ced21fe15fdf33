"""Likelihood of each row's reference: that of a plain forward pass, whatever batch the row is in."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_med.evaluation.likelihood import reference_batches, row_likelihood
from lightning_med.evaluation.likelihood.row_likelihood import FIRST, measure_rows, summarize_rows
from lightning_med.evaluation.results.breakdowns import break_down, count_losses
from lightning_med.inference.model_folder import ModelFolder, open_model
from lightning_med.model.execution import use_native_attention
from tests import tiny

ROWS = 24
QUESTIONS = [f"Case {row}: {' '.join(tiny.WORDS[: 3 + row % 9])}?" for row in range(ROWS)]
ANSWERS = [f"{' '.join(tiny.WORDS[row % 5 : 6 + row])}." for row in range(ROWS)]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks of several batches."""
    monkeypatch.setattr(reference_batches, "CHUNK", 10)
    monkeypatch.setattr(reference_batches, "BATCH_TOKENS", 220)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return open_model(tiny.finished_export(tmp_path_factory.getbasetemp() / "tiny"))


@pytest.fixture(scope="module")
def network(model: ModelFolder) -> Any:
    return model.load_network(torch.float32)


def measure(network: Any, model: ModelFolder, done: set[int] | None = None) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for batch in measure_rows(network, model.encoder, QUESTIONS, ANSWERS, done or set()):
        found |= batch
    return found


def test_each_row_has_the_likelihood_of_a_plain_forward_pass(network: Any, model: ModelFolder) -> None:
    rows = measure(network, model)
    assert sorted(rows) == list(range(ROWS))
    for row in (0, 7, ROWS - 1):
        prompt = model.encoder.encode_question(QUESTIONS[row], 1000)
        own = model.encoder.tokenizer.encode(f" {ANSWERS[row]}", add_special_tokens=False)
        ids = torch.tensor([[*prompt, *own, model.encoder.tokenizer.eos_token_id]])
        with torch.inference_mode(), use_native_attention(network):
            logits = network(ids).logits[0, :-1].double().log_softmax(-1)
        nll = -logits.gather(1, ids[0, 1:, None])[:, 0].numpy()
        answer, end = nll[len(prompt) - 1 : -1], nll[-1]
        assert rows[row]["answer_tokens"] == len(own)
        assert rows[row]["answer"] == pytest.approx(answer.sum(), abs=1e-3)
        assert rows[row]["first"] == pytest.approx(answer[:FIRST].sum(), abs=1e-3)
        assert rows[row]["end"] == pytest.approx(end, abs=1e-4)
        assert rows[row]["rest"] == pytest.approx(nll[: len(prompt) - 1].sum(), abs=1e-3)
        assert rows[row]["rest_tokens"] == len(prompt) - 1
        assert rows[row]["answer_bytes"] == len(ANSWERS[row].encode())


def test_rows_that_are_done_change_nothing_in_the_others(network: Any, model: ModelFolder) -> None:
    whole, done = measure(network, model), set(range(0, ROWS, 2)) | set(range(10))
    rest = measure(network, model, done)
    assert set(range(ROWS)) - done <= set(rest)
    assert not set(range(10)) & set(rest)
    assert all(whole[row] == rest[row] for row in rest)


def test_figures_are_those_of_the_test_verb(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.getbasetemp() / "tiny"
    run, model = tiny.finished_run(folder), open_model(tiny.finished_export(folder))
    output = folder / "test_for_likelihood.json"
    status, _, err = tiny.command("test", "--ckpt_path", run / "checkpoints" / "last.ckpt", "--output", output)
    assert status == 0, err
    data = tiny.data_module(folder)
    texts = data.store("test").list_texts()
    questions, answers = [row["question"] for row in texts], [row["answer"] for row in texts]
    found: dict[int, dict[str, Any]] = {}
    for batch in measure_rows(model.load_network(torch.float32), model.encoder, questions, answers):
        found |= batch
    values = summarize_rows([found[row] for row in sorted(found)])
    expected = json.loads(output.read_text())
    assert values["perplexity"].compute() == pytest.approx(expected["test/perplexity"], rel=1e-5)
    assert values["bits_per_byte"].compute() == pytest.approx(expected["test/bits_per_byte"], rel=1e-5)


def test_a_cut_answer_has_no_end_and_is_marked(network: Any, model: ModelFolder) -> None:
    encoder = model.encoder.with_max_length(model.encoder.prompt_length + 60)
    rows: dict[int, dict[str, Any]] = {}
    for batch in measure_rows(network, encoder, ["Why?", "Why?"], ["cough " * 90, "rest"]):
        rows |= batch
    assert (rows[0]["cut"], rows[0]["end"], rows[0]["end_tokens"]) == (True, 0.0, 0)
    assert (rows[1]["cut"], rows[1]["end_tokens"]) == (False, 1)


def test_a_row_without_a_finite_loss_is_left_out_everywhere() -> None:
    row = {"answer": 6.0, "answer_tokens": 3, "first": 4.0, "first_tokens": 2, "end": 2.0, "end_tokens": 1}
    row |= {"rest": 5.0, "rest_tokens": 5, "answer_bytes": 4, "cut": False}
    broken = {**row, "answer": None, "first": None}
    values = summarize_rows([row, broken])
    assert values["nll"].compute() == pytest.approx(2.0)
    assert values["nll"].present.tolist() == [True, False]
    assert break_down([row, broken], ["a b", "a b"], ["s", "s"])["by_source"]["s"]["rows"] == 1
    assert sum(count_losses([row, broken])) == 1


def test_losses_that_are_not_finite_are_written_as_null(
    network: Any, model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute(network: Any, batch: dict[str, Any]) -> torch.Tensor:
        return torch.full((len(batch["targets"]),), float("inf"))

    monkeypatch.setattr(row_likelihood, "compute_token_nll", compute)
    rows = measure(network, model)
    assert {each["answer"] for each in rows.values()} == {None}
    assert json.loads(json.dumps(rows[0], allow_nan=False)) == rows[0]


def test_figures_are_sums_over_tokens_and_named_apart() -> None:
    row = {"answer": 6.0, "answer_tokens": 3, "first": 4.0, "first_tokens": 2, "end": 2.0, "end_tokens": 1}
    row |= {"rest": 5.0, "rest_tokens": 5, "answer_bytes": 4, "cut": False}
    other = {**row, "answer": 1.0, "answer_tokens": 1, "first": 1.0, "first_tokens": 1, "end": 0.0, "end_tokens": 0}
    values = {name: each.compute() for name, each in summarize_rows([row, other]).items()}
    assert values["nll"] == pytest.approx(9 / 5)
    assert values["perplexity"] == pytest.approx(math.exp(9 / 5))
    assert values["row_perplexity"] == pytest.approx((math.exp(2) + math.e) / 2)
    assert values["bits_per_byte"] == pytest.approx(9 / np.log(2) / 8)
    assert values["first_tokens_nll"] == pytest.approx(5 / 3)
    assert values["later_tokens_nll"] == pytest.approx(2)
    assert values["end_nll"] == pytest.approx(2)
    assert values["all_tokens_nll"] == pytest.approx(19 / 15)
    assert values["all_tokens_perplexity"] == pytest.approx(math.exp(19 / 15))
