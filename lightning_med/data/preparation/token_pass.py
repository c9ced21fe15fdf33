"""The second pass: each clean conversation goes to its side of the split and becomes tokens."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_med.data.preparation.clean_rows import CleanRowStore
from lightning_med.data.preparation.recipe import Recipe
from lightning_med.data.preparation.split_plan import SplitPlan
from lightning_med.data.preparation.token_shard import Coding, Task, encode_batch
from lightning_med.data.preparation.token_statistics import TokenStatistics
from lightning_med.data.preparation.token_store import TokenWriter
from lightning_med.data.preparation.worker_pool import WorkerPool
from lightning_med.data.splits.group_split import BY_FRACTIONS, SPLITS, OwnAssignment, assign_splits, keep_own_splits
from lightning_med.privacy.mask import mask
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import StoredTokenizer, add_tokens, store_tokenizer, train_tokenizer
from lightning_med.utils.console import Progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.memory.allocator import release_freed_memory

TOKENIZER, REPORT = "tokenizer.txt", "report.json"  # files beside those of the splits
REPEATS = "repeats_evaluation"  # the rule, in the report, by which training rows are left out
NOTHING_TO_TRAIN = (
    "There is no row to train on: all are of validation or test.",
    "Name others, or have them split: --data.source '[{path: PATH, split: mixed}]'",
)
_LARGEST_GROUPS = 5  # whose sizes the report names
_SHOWN_ROWS = 10  # in the report, drawn at random


def encode_rows(
    recipe: Recipe,
    store: CleanRowStore,
    tokenizer: str | None,
    prompt: Prompt,
    folder: Path,
    pool: WorkerPool,
    progress: Progress,
) -> None:
    """Splits and encodes clean rows and writes tokens, texts, tokenizer and report to a folder.

    Args:
        recipe: The settings.
        store: The clean rows.
        tokenizer: As text; `None` to train one on the training split.
        prompt: The text around questions and answers.
        folder: Empty.
        pool: Encodes the batches.
        progress: Receives the progress.

    Raises:
        InputError: There are too few groups, `max_length` leaves no room beside the prompt, or a trained tokenizer has
            a token already that is to be added.
    """
    groups, assigned = store.groups, _assign(recipe, store)
    sides = assigned.sides
    plan = SplitPlan(store, sides)
    if tokenizer is None and 0 not in sides:
        raise InputError(*NOTHING_TO_TRAIN)
    if tokenizer is None:
        progress("training the tokenizer", 0, 0)
        trained = train_tokenizer(plan.read_training_texts(), recipe.vocab_size)
        tokenizer = add_tokens(store_tokenizer(trained), recipe.add_tokens)
    figures = _encode_splits(recipe, plan, tokenizer, prompt, folder, pool, progress)
    sizes = np.sort(np.bincount(groups.labels))[::-1][:_LARGEST_GROUPS]
    report = {
        **_count_own(recipe, store, assigned),
        "splits": {split: int((sides == index).sum()) for index, split in enumerate(SPLITS)},
        "groups": groups.count,
        "leaks_joined": len(store.kept) - groups.count,
        "near_pairs": groups.near_pairs,
        "moved_groups": assigned.moved,
        "largest_groups": [int(size) for size in sizes if size > 1],
        **figures,
    }
    (folder / TOKENIZER).write_text(tokenizer, encoding="utf-8")
    (folder / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")


def _assign(recipe: Recipe, store: CleanRowStore) -> OwnAssignment:
    """Keeps the owner's own splits where there are any, and draws the sides of all other rows."""
    drawing = (recipe.seed, recipe.test_fraction, recipe.val_fraction)
    if not recipe.file_splits:
        return OwnAssignment(*assign_splits(store.groups, store.split_keys, *drawing), 0)
    of_files = np.array([SPLITS.index(split) if split else BY_FRACTIONS for split in recipe.file_splits], np.int8)
    own = of_files[store.files[store.kept]]
    for side in sorted({1, 2} & set(of_files.tolist()) - set(own.tolist())):
        name = store.names[of_files.tolist().index(side)]
        raise InputError(f"{name}: no {SPLITS[side]} row is left after cleaning.", "Leave the file out.")
    return keep_own_splits(store.groups, store.split_keys, own, *drawing)


def _count_own(recipe: Recipe, store: CleanRowStore, assigned: OwnAssignment) -> dict[str, Any]:
    """Returns what the report says of reading and cleaning, with own splits and the rows left out for their sake."""
    figures, splits = store.figures, recipe.file_splits or [None] * len(store.names)
    out = np.bincount(store.files[store.kept][assigned.sides < 0], minlength=len(splits)).tolist()
    sources = [
        {**source, "rows_out": source["rows_out"] - left_out, "split": split}
        for source, split, left_out in zip(figures["sources"], splits, out, strict=True)
    ]
    if not recipe.file_splits:
        return {**figures, "sources": sources, "own_splits": None}
    return {
        **figures,
        "rows_out": figures["rows_out"] - sum(out),
        "sources": sources,
        "rules": {**figures["rules"], REPEATS: sum(out)},
        "effects": {**figures["effects"], REPEATS: "dropped"},
        "own_splits": {
            "kept": [split for split in SPLITS if split in splits],
            "left_out": sum(out),
            "validation_in_test": assigned.validation_in_test,
        },
    }


def _encode_splits(
    recipe: Recipe,
    plan: SplitPlan,
    tokenizer: str,
    prompt: Prompt,
    folder: Path,
    pool: WorkerPool,
    progress: Progress,
) -> dict[str, Any]:
    """Writes the tokens and texts of every split; returns the report's figures of the tokens, and a few rows."""
    stored = StoredTokenizer(tokenizer)
    placed = np.flatnonzero(plan.sides >= 0)
    store, kept, done = plan.store, len(placed), 0
    statistics, shown = TokenStatistics(stored.vocab_size), []
    random = np.random.default_rng(recipe.seed % 2**32)
    drawn = random.choice(placed, min(_SHOWN_ROWS, kept), replace=False)
    lengths = (recipe.max_length, recipe.eval_max_length, recipe.eval_max_length)
    coding = Coding(tokenizer, stored.vocab_size, prompt, lengths)
    release_freed_memory()
    waiting: deque[tuple[pa.RecordBatch, int, int]] = deque()

    def read_tasks() -> Iterator[Task]:
        for batch, first, after in plan.read_batches():
            waiting.append((batch, first, after))
            yield batch, store.turns[first:after], plan.sides[first:after]

    with ExitStack() as stack:
        writers = [stack.enter_context(TokenWriter(folder, split, stored.vocab_size)) for split in SPLITS]
        for shards in pool.map_ordered(partial(encode_batch, coding=coding), read_tasks()):
            batch, first, after = waiting.popleft()
            for side, (split, shard) in enumerate(zip(SPLITS, shards, strict=True)):
                chosen, texts = plan.select(batch, first, after, side)
                writers[side].add(shard, store.sources[store.files[chosen]], texts)
                statistics.add(split, shard)
                shown += [_show_row(split, texts, store, row) for row in np.intersect1d(chosen, drawn)]
                done += len(chosen)
            progress("encoding", done, kept)
    return {
        "tokens": statistics.count_tokens(),
        "lengths": statistics.describe_lengths(),
        "vocabulary": statistics.compare_vocabularies(stored.backend_tokenizer),
        "rows": shown,
    }


def _show_row(split: str, texts: pa.Table, store: CleanRowStore, row: int) -> dict[str, Any]:
    """A row for people to look at, with private data replaced even where the prepared data keeps it."""
    name = store.names[int(store.files[row])]
    exchanges = texts.filter(pc.equal(texts.column("row"), int(store.rows[row]))).to_pylist()
    exchanges = [exchange for exchange in exchanges if exchange["source"] == name]
    question, answer = ("\n".join(mask(each[column])[0] for each in exchanges) for column in ("question", "answer"))
    return {"split": split, "source": name, "row": exchanges[0]["row"], "question": question, "answer": answer}
