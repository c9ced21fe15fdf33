"""Batches by token budget: every row once, an order of (seed, epoch), and the same targets flat or padded."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from lightning_med.data.batching.batch_dataset import ResumableSampler, TimedLoader
from lightning_med.data.batching.batch_plan import (
    count_batches,
    plan_batches,
    plan_steps,
    repeat_by_weight,
    shuffle_rows,
)
from lightning_med.data.batching.collate import collate_flat, collate_padded
from lightning_med.data.batching.loaders import LoaderFactory
from lightning_med.data.preparation.token_shard import Coding, Shard, encode_batch
from lightning_med.data.preparation.token_store import TEXTS, TokenStore, TokenWriter
from lightning_med.tokenization.consultation import ANSWER, PROMPT, QUESTION
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import store_tokenizer
from tests.conftest import consultation

ROWS, LENGTH, BUDGET = 23, 220, 500


@pytest.fixture(scope="module")
def store(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """Consultations of different lengths, the last one cut, written in two chunks."""
    pairs = [consultation(number) for number in range(ROWS)]
    pairs = [(question, answer * (1 + number % 3)) for number, (question, answer) in enumerate(pairs)]
    pairs[-1] = (pairs[-1][0] * 9, pairs[-1][1] * 9)
    coding = Coding(store_tokenizer(tokenizer), len(tokenizer), Prompt("Be kind."), (LENGTH,))
    folder = tmp_path_factory.mktemp("store")
    with TokenWriter(folder, "train", len(tokenizer)) as writer:
        for first, last in ((0, 9), (9, ROWS)):
            columns = dict(zip(("question", "answer"), map(list, zip(*pairs[first:last], strict=True)), strict=True))
            count = last - first
            columns["learned"] = [True] * count
            (shard,) = encode_batch(
                (pa.RecordBatch.from_pydict(columns), np.ones(count, int), np.zeros(count, int)), coding
            )
            rest = {"source": ["a.csv"] * count, "row": list(range(first, last)), "turn": [0] * count}
            texts = pa.Table.from_pydict({**rest, "group": rest["row"], **columns}, schema=TEXTS)
            writer.add(shard, np.zeros(count, int), texts)
    return TokenStore(folder, "train")


def loader(
    store: TokenStore,
    plan: list[np.ndarray],
    window: int = 1,
    padded: int | None = None,
    done: int = 0,
    num_workers: int = 0,
) -> TimedLoader:
    return LoaderFactory(padded, 0, num_workers, rank=0, ranks=1).make_loader(store, plan, window, done)


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


def test_a_row_begins_with_its_prompt(store: TokenStore, tmp_path: Path) -> None:
    """Nothing predicts the first token of a row: so all tokens of questions and answers are predicted."""
    assert {int(store.parts(row)[0]) for row in range(ROWS)} == {PROMPT}
    runs = [[2, 1, 1, 3], [1, 0, 1, 1], [1, 2, 1, 1, 1, 1, 1, 4]]
    ids = np.arange(sum(map(sum, runs)), dtype=np.uint16)
    counts = np.array([[len(row), sum(row)] for row in runs])
    flat_runs, whole = np.array([run for row in runs for run in row], dtype=np.int32), np.zeros((3, 3), np.int32)
    shard = Shard(ids, counts[:, 1], flat_runs, counts[:, 0], np.ones(3, np.int32), whole, 0, np.zeros(300, int))
    with TokenWriter(tmp_path, "train", 300) as writer:
        writer.add(shard, np.array([0, 1, 0]), TEXTS.empty_table())
    small = TokenStore(tmp_path, "train")
    assert small.targets[ANSWER].tolist() == [3, 1, 5]
    assert small.targets[QUESTION].tolist() == [1, 0, 3]
    assert [targets_by_row(small, row, ANSWER) for row in range(3)] == [[4, 5, 6], [9], [14, 18, 19, 20, 21]]
    assert small.sources.tolist() == [0, 1, 0]


@pytest.mark.parametrize(("vocabulary", "kind"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.int32)])
def test_ids_take_two_bytes_where_the_vocabulary_allows_it(tmp_path: Path, vocabulary: int, kind: type) -> None:
    ids, one = np.array([0, vocabulary - 1], dtype=np.int64), np.ones(1, np.int32)
    runs = np.array([1, 0, 0, 1], dtype=np.int32)
    shard = Shard(ids, np.array([2]), runs, np.array([4]), one, np.zeros((1, 3), np.int32), 0, np.zeros(1, int))
    with TokenWriter(tmp_path, "train", vocabulary) as writer:
        writer.add(shard, one, TEXTS.empty_table())
    stored = TokenStore(tmp_path, "train").input_ids(0)
    assert stored.dtype == kind
    assert stored.tolist() == ids.tolist()


def test_store_without_rows(tmp_path: Path) -> None:
    with TokenWriter(tmp_path, "test", 300):
        pass
    empty = TokenStore(tmp_path, "test")
    assert len(empty) == 0
    assert empty.targets[ANSWER].tolist() == []
    assert list(loader(empty, plan_batches(empty.lengths, BUDGET, np.arange(0)))) == []


# The plan


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 100), st.integers(0, 5))
def test_plan_takes_every_row_once_within_the_budget(lengths: list[int], budget: int, seed: int) -> None:
    tokens, order = np.array(lengths, dtype=np.int64), shuffle_rows(len(lengths), seed, 0)
    planned = plan_batches(tokens, budget, order)
    assert [row for rows in planned for row in rows] == order.tolist()
    assert all(len(rows) for rows in planned)
    for rows in planned:
        assert tokens[rows].sum() <= budget or len(rows) == 1
    for rows, after in pairwise(planned):
        assert tokens[rows].sum() + tokens[after[0]] > budget  # full: the next row had no room


@given(st.lists(st.integers(1, 60), max_size=150), st.integers(60, 300), st.integers(60, 900), st.integers(0, 5))
def test_steps_take_every_row_once_in_equally_many_batches(
    lengths: list[int], budget: int, step: int, seed: int
) -> None:
    tokens, order = np.array(lengths, dtype=np.int64), shuffle_rows(len(lengths), seed, 0)
    planned = plan_steps(tokens, budget, order, step, 60)
    assert sorted(row for rows in planned for row in rows) == list(range(len(lengths)))
    assert all(len(rows) and tokens[rows].sum() <= max(budget, 120) for rows in planned)
    window = count_batches(step, budget, 60)
    made = [planned[first : first + window] for first in range(0, len(planned), window)]
    expected = plan_batches(tokens, step, order)  # a step's rows, whatever a batch holds
    assert [sorted(np.concatenate(batches)) for batches in made] == [sorted(rows) for rows in expected]


@pytest.mark.parametrize(
    ("budget", "step"), [(8192, 65_536), (8192, 100_000), (4096, 32_768), (1024, 8192), (600, 4000)]
)
def test_a_step_is_dealt_out_evenly(budget: int, step: int) -> None:
    tokens = np.random.default_rng(0).integers(40, 513, 3000)
    planned = plan_steps(tokens, budget, shuffle_rows(3000, 1, 0), step, 512)
    window = count_batches(step, budget, 512)
    sizes = np.array([tokens[rows].sum() for rows in planned])
    assert sizes.max() <= max(budget, 1024)
    whole = sizes[: len(sizes) // window * window].reshape(-1, window)[:-1]
    assert step - 512 < whole.sum(1).min() <= whole.sum(1).max() <= step
    assert (np.ptp(whole, axis=1) <= 512).all()


@pytest.mark.parametrize(("step", "expected"), [(512, 1), (8192, 1), (8193, 2), (65_536, 9)])
def test_batches_of_a_step(step: int, expected: int) -> None:
    assert count_batches(step, 8192, 512) == expected


def test_order_is_a_function_of_seed_and_epoch() -> None:
    order = shuffle_rows(200, 42, 3)
    assert sorted(order) == list(range(200))
    assert np.array_equal(order, shuffle_rows(200, 42, 3))
    assert not np.array_equal(order, shuffle_rows(200, 42, 4))
    assert not np.array_equal(order, shuffle_rows(200, 43, 3))
    np.random.seed(1)
    torch.manual_seed(1)
    assert np.array_equal(order, shuffle_rows(200, 42, 3))


def test_order_never_changes_between_versions() -> None:
    """A run that is resumed after an update goes on with the same rows."""
    assert shuffle_rows(8, 42, 0).tolist() == [3, 4, 2, 7, 6, 1, 5, 0]


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 3.0]), min_size=1, max_size=60), st.integers(0, 5))
def test_a_weight_is_how_often_a_row_comes(weights: list[float], epoch: int) -> None:
    order = shuffle_rows(len(weights), 7, epoch)
    drawn = repeat_by_weight(order, np.array(weights), 7, epoch)
    times = np.bincount(drawn, minlength=len(weights))
    assert all(np.floor(w) <= t <= np.ceil(w) for w, t in zip(weights, times, strict=True))
    assert np.array_equal(drawn, repeat_by_weight(order, np.array(weights), 7, epoch))


def test_a_weight_holds_on_average_over_the_epochs() -> None:
    weights = np.repeat([0.1, 0.5, 1.25], 400)
    drawn = [repeat_by_weight(shuffle_rows(1_200, 42, epoch), weights, 42, epoch) for epoch in range(60)]
    times = np.bincount(np.concatenate(drawn), minlength=1_200)
    assert times[:400].mean() / 60 == pytest.approx(0.1, rel=0.05)
    assert times[400:800].mean() / 60 == pytest.approx(0.5, rel=0.05)
    assert times[800:].mean() / 60 == pytest.approx(1.25, rel=0.05)
    assert times[400:].min() > 0  # another part of a source each epoch


def test_repeated_rows_are_spread_over_the_epoch() -> None:
    drawn = repeat_by_weight(shuffle_rows(300, 1, 0), np.full(300, 2.0), 1, 0)
    assert sorted(drawn) == sorted([*range(300)] * 2)
    assert sum(one == other for one, other in pairwise(drawn)) < 10
    assert len(set(drawn[:300])) < 290  # not one whole pass behind the other


# The batches


def test_flat_batch(store: TokenStore) -> None:
    rows = np.array([4, 0, ROWS - 1])
    batch = collate_flat(store, rows)
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
    batch = collate_flat(store, rows)
    assert torch.equal(batch["input_ids"][0, batch["predict_at"] + 1], batch["targets"])
    answers = batch["answers"]
    assert batch["targets"][:answers].tolist() == [t for row in rows for t in targets_by_row(store, row, ANSWER)]
    assert batch["targets"][answers:].tolist() == [t for row in rows for t in targets_by_row(store, row, QUESTION)]
    last_places = {after - 1 for after in batch["boundaries"][1:]}
    assert not last_places & set(batch["predict_at"].tolist())  # no row predicts into the next


def test_padded_batch_has_the_targets_of_the_flat_one(store: TokenStore) -> None:
    rows = np.array([4, 0, ROWS - 1])
    flat_batch, padded = collate_flat(store, rows), collate_padded(store, rows, LENGTH, pad_id=7)
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
    made = list(loader(store, plan_batches(lengths, BUDGET, shuffle_rows(ROWS, 1, 0)), window, padded))
    assert len(made) > 4
    for first in range(0, len(made), window):
        step = made[first : first + window]
        answers = sum(batch["answers"] for batch in step)
        questions = sum(len(batch["targets"]) - batch["answers"] for batch in step)
        assert [(batch["window_answers"], batch["window_questions"]) for batch in step] == [(answers, questions)] * len(
            step
        )


def test_onward_leaves_out_what_is_done_but_keeps_its_length(store: TokenStore) -> None:
    assert list(ResumableSampler(range(5), 3)) == [3, 4]
    assert list(ResumableSampler(range(5))) == [0, 1, 2, 3, 4]
    assert list(ResumableSampler(range(5), 5)) == []
    assert len(ResumableSampler(range(5), 3)) == 5
    plan = plan_batches(store.lengths, BUDGET, np.arange(ROWS))
    whole, rest = list(loader(store, plan)), loader(store, plan, done=2)
    assert len(rest) == len(whole)
    assert [batch["rows"] for batch in rest] == [batch["rows"] for batch in whole[2:]]


def test_workers_give_the_same_batches(store: TokenStore) -> None:
    plan = plan_batches(store.lengths, BUDGET, shuffle_rows(ROWS, 1, 0))
    alone, helped = list(loader(store, plan)), list(loader(store, plan, num_workers=2))
    assert len(alone) == len(helped)
    for one, other in zip(alone, helped, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in one)
