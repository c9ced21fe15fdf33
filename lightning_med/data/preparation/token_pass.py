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
from lightning_med.data.splits.group_split import SPLITS, assign_splits
from lightning_med.privacy.mask import mask
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import StoredTokenizer, add_tokens, store_tokenizer, train_tokenizer
from lightning_med.utils.allocator import release_freed_memory
from lightning_med.utils.console import Progress

TOKENIZER, REPORT = "tokenizer.txt", "report.json"  # files beside those of the splits
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
    groups = store.groups
    sides, moved = assign_splits(groups, store.split_keys, recipe.seed, recipe.test_fraction, recipe.val_fraction)
    plan = SplitPlan(store, sides)
    if tokenizer is None:
        progress("training the tokenizer", 0, 0)
        trained = train_tokenizer(plan.read_training_texts(), recipe.vocab_size)
        tokenizer = add_tokens(store_tokenizer(trained), recipe.add_tokens)
    figures = _encode_splits(recipe, plan, tokenizer, prompt, folder, pool, progress)
    sizes = np.sort(np.bincount(groups.labels))[::-1][:_LARGEST_GROUPS]
    report = {
        **store.figures,
        "splits": {split: int((sides == index).sum()) for index, split in enumerate(SPLITS)},
        "groups": groups.count,
        "leaks_joined": len(store.kept) - groups.count,
        "near_pairs": groups.near_pairs,
        "moved_groups": moved,
        "largest_groups": [int(size) for size in sizes if size > 1],
        **figures,
    }
    (folder / TOKENIZER).write_text(tokenizer, encoding="utf-8")
    (folder / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")


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
    store, kept, done = plan.store, len(plan.store.kept), 0
    statistics, shown = TokenStatistics(stored.vocab_size), []
    random = np.random.default_rng(recipe.seed % 2**32)
    drawn = random.choice(store.kept, min(_SHOWN_ROWS, kept), replace=False)
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
