"""Flat and padded batches give the loss and the gradients of a plain padded forward of transformers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from lightning_med.data.batching import collate
from lightning_med.data.module import DialogueDataModule
from lightning_med.model.causal_lm import compute_nll, load_base
from lightning_med.tokenization import consultation
from tests import tiny


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model: GPT-2, or Llama with two query heads a key head and an untied output layer."""
    torch.manual_seed(3)
    common = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.2}
    model: Any
    if request.param == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=4, n_positions=128, **common))
    else:
        model = LlamaForCausalLM(LlamaConfig(**tiny.LLAMA, **common))
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    return folder


def ours(base: Path) -> Any:
    return load_base(str(base), 0.0).eval()


def theirs(base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").eval()


def labelled(data: DialogueDataModule, row: int) -> tuple[list[int], list[float]]:
    """A consultation's ids and, for each, its weight in the loss: 1 in the answer, -1 in the question, 0 elsewhere."""
    text, tokenizer = data.store("train").texts(row), data.prepared.tokenizer
    pieces = [(f"{tiny.SYSTEM}\n\nPatient:", 0), (f" {text['question']}", -1), ("\n\nDoctor:", 0)]
    pieces.append((f" {text['answer']}", 1))
    ids: list[int] = []
    marks: list[float] = []
    for piece, mark in pieces:
        encoded = tokenizer(piece, add_special_tokens=False)["input_ids"]
        ids += encoded
        marks += [mark] * len(encoded)
    return [*ids, tokenizer.eos_token_id], [*marks, 1]


def plain_loss(model: Any, data: DialogueDataModule, rows: list[int], question_weight: float) -> Tensor:
    """A padded forward, all logits, and torch's cross-entropy on labels built by hand."""
    consultations = [labelled(data, row) for row in rows]
    length = max(len(ids) for ids, _ in consultations)
    input_ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask, marks = torch.zeros_like(input_ids), torch.zeros(len(rows), length)
    for line, (ids, mark) in enumerate(consultations):
        input_ids[line, : len(ids)] = torch.tensor(ids)
        mask[line, : len(ids)] = 1
        marks[line, : len(ids)] = torch.tensor(mark)
    logits = model(input_ids, attention_mask=mask).logits[:, :-1]
    nll = cross_entropy(logits.flatten(0, 1), input_ids[:, 1:].flatten(), reduction="none")
    loss_weights = torch.where(marks[:, 1:].flatten() > 0, 1.0, 0.0)
    loss_weights[marks[:, 1:].flatten() < 0] = question_weight
    return (nll * loss_weights).sum()


def some_rows(data: DialogueDataModule, seed: int, count: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).permutation(len(data.store("train")))[:count]


def gradients(model: Any) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("question_weight", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["flat", "padded"])
def test_loss_and_gradients_are_those_of_a_padded_forward(
    base: Path, data: DialogueDataModule, kind: str, question_weight: float
) -> None:
    store = data.store("train")
    for seed in range(3):
        rows = some_rows(data, seed, count=1 + 3 * seed)
        batch = (
            collate.collate_flat(store, rows) if kind == "flat" else collate.collate_padded(store, rows, 128, pad_id=0)
        )
        model, plain = ours(base), theirs(base)
        total, each = compute_nll(model, batch, question_weight)
        total.backward()
        expected = plain_loss(plain, data, rows.tolist(), question_weight)
        expected.backward()
        assert abs(float(total.detach() / expected.detach()) - 1) < 1e-5
        assert tiny.relative_l2(gradients(model), gradients(plain)) < 1e-5
        with torch.no_grad():
            answers = plain_loss(plain, data, rows.tolist(), 0.0)
        assert float(each.sum()) == pytest.approx(float(answers), rel=1e-5)


@pytest.mark.parametrize("kind", ["flat", "padded"])
def test_consultations_of_one_batch_do_not_see_each_other(base: Path, data: DialogueDataModule, kind: str) -> None:
    model, store = ours(base), data.store("train")
    lengths = {int(store.lengths[row]): row for row in range(len(store))}
    first, second, other = list(lengths.values())[:3]  # of three different lengths

    def answer_of_second(rows: list[int]) -> Tensor:
        batch = (
            collate.collate_flat(store, np.array(rows))
            if kind == "flat"
            else collate.collate_padded(store, np.array(rows), 128, pad_id=0)
        )
        with torch.no_grad():
            each = compute_nll(model, batch)[1]
        counts = np.cumsum([0, *(store.targets[consultation.ANSWER][row] for row in rows)])
        spans = [each[start:end] for start, end in pairwise(counts)]
        return spans[rows.index(second)]

    alone = answer_of_second([second])
    for rows in ([first, second], [other, second], [second, other], [first, other, second, first]):
        torch.testing.assert_close(answer_of_second(rows), alone, rtol=1e-5, atol=1e-5)


def test_one_changed_token_changes_no_other_consultation(base: Path, data: DialogueDataModule) -> None:
    model, store = ours(base), data.store("train")
    batch = collate.collate_flat(store, some_rows(data, seed=9, count=3))
    start, end = batch["boundaries"][1:3]
    changed = {**batch, "input_ids": batch["input_ids"].clone()}
    changed["input_ids"][0, start + 5 : end] += 1
    changed["input_ids"] %= 300
    with torch.no_grad():
        before, after = (compute_nll(model, each)[1] for each in (batch, changed))
    outside = [
        answer for answer, place in enumerate(batch["predict_at"][: batch["answers"]]) if not start <= place < end
    ]
    inside = sorted(set(range(batch["answers"])) - set(outside))
    assert torch.equal(before[outside], after[outside])
    assert not torch.allclose(before[inside], after[inside])


def test_the_order_of_consultations_does_not_matter(base: Path, data: DialogueDataModule) -> None:
    model, store, rows = ours(base), data.store("train"), some_rows(data, seed=4)
    with torch.no_grad():
        totals = [float(compute_nll(model, collate.collate_flat(store, order), 0.5)[0]) for order in (rows, rows[::-1])]
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)
