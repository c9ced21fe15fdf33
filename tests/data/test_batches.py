"""Batches by token budget: every row once, an order of (seed, epoch), and the same targets flat or padded."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from lightning_med.data import store as stores
from lightning_med.data.batches import Batches, Onward, flat, loader, pad, plan, shuffled
from lightning_med.data.prompts import Prompt
from lightning_med.data.store import TokenStore
from lightning_med.data.tokens import ANSWER, PROMPT, QUESTION, Encoder
from tests.conftest import consultation

ROWS, LENGTH, BUDGET = 23, 220, 500


@pytest.fixture(scope="module")
def store(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """Consultations of different lengths, the last one cut, written in two chunks."""
    folder = tmp_path_factory.mktemp("store") / "train"
    pairs = [consultation(number) for number in range(ROWS)]
    pairs = [(question, answer * (1 + number % 3)) for number, (question, answer) in enumerate(pairs)]
    pairs[-1] = (pairs[-1][0] * 9, pairs[-1][1] * 9)
    questions, answers = map(list, zip(*pairs, strict=True))
    encoded = Encoder(tokenizer, Prompt("Be kind."), LENGTH).encode(questions, answers)
    texts = {"question": questions, "answer": answers, "source": ["a.csv"] * ROWS, "row": list(range(ROWS))}
    stores.write(
        [
            stores.record(encoded[first:last], {name: column[first:last] for name, column in texts.items()})
            for first, last in ((0, 9), (9, ROWS))
        ],
        folder,
    )
    return TokenStore(folder)


def targets_by_row(store: TokenStore, row: int, part: int) -> list[int]:
    """What the model learns of a row, counted the slow way."""
    ids, parts = store.input_ids(row), store.parts(row)
    return [int(ids[at]) for at in range(1, len(ids)) if parts[at] == part]


# The store


def test_store_gives_back_what_was_encoded(store: TokenStore, tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(store) == ROWS
    for row in range(ROWS - 1):
        texts = store.texts(row)
        assert (texts["source"], texts["row"]) == ("a.csv", row)
        ids, parts = store.input_ids(row), store.parts(row)
        assert len(ids) == len(parts) == store.lengths[row]
        assert tokenizer.decode(ids[parts == QUESTION]) == f" {texts['question']}"
        assert tokenizer.decode(ids[parts == ANSWER], skip_special_tokens=True) == f" {texts['answer']}"
        assert store.answer_bytes[row] == len(str(texts["answer"]).encode())


def test_store_counts_targets(store: TokenStore) -> None:
    for part in (ANSWER, QUESTION):
        assert store.targets[part].tolist() == [len(targets_by_row(store, row, part)) for row in range(ROWS)]


def test_store_leaves_out_the_first_token_of_a_row(tmp_path: Path) -> None:
    """Nothing predicts it, whatever it is for."""
    rows = [[ANSWER, ANSWER, QUESTION], [QUESTION], [PROMPT, QUESTION, ANSWER]]
    encoded = [
        stores.Encoded(np.arange(len(row), dtype=np.int32), np.array(row, dtype=np.uint8), 1, False) for row in rows
    ]
    texts = {"question": ["q"] * 3, "answer": ["a"] * 3, "source": ["s"] * 3, "row": [0, 1, 2]}
    stores.write([stores.record(encoded, texts)], tmp_path / "small")
    small = TokenStore(tmp_path / "small")
    assert small.targets[ANSWER].tolist() == [1, 0, 1]
    assert small.targets[QUESTION].tolist() == [1, 0, 1]


def test_store_without_rows(tmp_path: Path) -> None:
    stores.write([], tmp_path / "empty")
    empty = TokenStore(tmp_path / "empty")
    assert len(empty) == 0
    assert list(loader(Batches(empty, plan(empty.lengths, BUDGET, np.arange(0))))) == []


# The plan


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 100), st.integers(0, 5))
def test_plan_takes_every_row_once_within_the_budget(lengths: list[int], budget: int, seed: int) -> None:
    tokens, order = np.array(lengths, dtype=np.int64), shuffled(len(lengths), seed, 0)
    planned = plan(tokens, budget, order)
    assert [row for rows in planned for row in rows] == order.tolist()
    assert all(len(rows) for rows in planned)
    for rows in planned:
        assert tokens[rows].sum() <= budget or len(rows) == 1
    for rows, after in pairwise(planned):
        assert tokens[rows].sum() + tokens[after[0]] > budget  # full: the next row had no room


def test_order_is_a_function_of_seed_and_epoch() -> None:
    order = shuffled(200, 42, 3)
    assert sorted(order) == list(range(200))
    assert np.array_equal(order, shuffled(200, 42, 3))
    assert not np.array_equal(order, shuffled(200, 42, 4))
    assert not np.array_equal(order, shuffled(200, 43, 3))
    np.random.seed(1)
    torch.manual_seed(1)
    assert np.array_equal(order, shuffled(200, 42, 3))


def test_order_never_changes_between_versions() -> None:
    """A run that is resumed after an update goes on with the same rows."""
    assert shuffled(8, 42, 0).tolist() == [3, 4, 2, 7, 6, 1, 5, 0]


# The batches


def test_flat_batch(store: TokenStore) -> None:
    rows = np.array([4, 0, ROWS - 1])
    batch = flat(store, rows)
    ids, positions, bounds = batch["input_ids"], batch["position_ids"], batch["boundaries"]
    assert ids.shape == positions.shape == (1, int(store.lengths[rows].sum()))
    assert ids.dtype == positions.dtype == torch.int64
    assert bounds == [0, *np.cumsum(store.lengths[rows]).tolist()]
    for row, first, last in zip(rows, bounds[:-1], bounds[1:], strict=True):
        assert ids[0, first:last].tolist() == store.input_ids(row).tolist()
        assert positions[0, first:last].tolist() == list(range(last - first))
    assert batch["rows"] == rows.tolist()
    assert batch["answer_bytes"] == store.answer_bytes[rows].sum()


def test_each_target_is_predicted_from_the_place_before_it(store: TokenStore) -> None:
    rows = np.array([4, 0, ROWS - 1])
    batch = flat(store, rows)
    assert torch.equal(batch["input_ids"][0, batch["predict_at"] + 1], batch["targets"])
    answers = batch["answers"]
    assert batch["targets"][:answers].tolist() == [t for row in rows for t in targets_by_row(store, row, ANSWER)]
    assert batch["targets"][answers:].tolist() == [t for row in rows for t in targets_by_row(store, row, QUESTION)]
    last_places = {after - 1 for after in batch["boundaries"][1:]}
    assert not last_places & set(batch["predict_at"].tolist())  # no row predicts into the next


def test_padded_batch_has_the_targets_of_the_flat_one(store: TokenStore) -> None:
    rows = np.array([4, 0, ROWS - 1])
    flat_batch, padded = flat(store, rows), pad(store, rows, LENGTH, pad_id=7)
    assert padded["input_ids"].shape == padded["attention_mask"].shape == (3, LENGTH)
    for name in ("targets", "answers", "answer_bytes", "rows"):
        assert torch.equal(torch.as_tensor(padded[name]), torch.as_tensor(flat_batch[name]))
    laid_out = padded["input_ids"].flatten()
    assert torch.equal(laid_out[padded["predict_at"] + 1], padded["targets"])
    for line, row in enumerate(rows):
        length = int(store.lengths[row])
        assert padded["attention_mask"][line].tolist() == [1] * length + [0] * (LENGTH - length)
        assert padded["input_ids"][line, :length].tolist() == store.input_ids(row).tolist()
        assert set(padded["input_ids"][line, length:].tolist()) <= {7}


@pytest.mark.parametrize("window", [1, 2, 3, 100])
@pytest.mark.parametrize("padded", [None, LENGTH])
def test_window_totals_are_those_of_the_optimizer_step(store: TokenStore, window: int, padded: int | None) -> None:
    lengths = store.lengths if padded is None else np.full(ROWS, padded)
    made = list(loader(Batches(store, plan(lengths, BUDGET, shuffled(ROWS, 1, 0)), window, padded)))
    assert len(made) > 4
    for first in range(0, len(made), window):
        step = made[first : first + window]
        answers = sum(batch["answers"] for batch in step)
        questions = sum(len(batch["targets"]) - batch["answers"] for batch in step)
        assert [(batch["window_answers"], batch["window_questions"]) for batch in step] == [(answers, questions)] * len(
            step
        )


def test_onward_leaves_out_what_is_done_but_keeps_its_length(store: TokenStore) -> None:
    assert list(Onward(5, 3)) == [3, 4]
    assert list(Onward(5)) == [0, 1, 2, 3, 4]
    assert list(Onward(5, 5)) == []
    assert len(Onward(5, 3)) == 5
    batches = Batches(store, plan(store.lengths, BUDGET, np.arange(ROWS)))
    whole, rest = list(loader(batches)), loader(batches, done=2)
    assert len(rest) == len(whole)
    assert [batch["rows"] for batch in rest] == [batch["rows"] for batch in whole[2:]]


def test_workers_give_the_same_batches(store: TokenStore) -> None:
    batches = Batches(store, plan(store.lengths, BUDGET, shuffled(ROWS, 1, 0)))
    alone, helped = list(loader(batches)), list(loader(batches, num_workers=2))
    assert len(alone) == len(helped)
    for one, other in zip(alone, helped, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in one)
