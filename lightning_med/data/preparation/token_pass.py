"""The second pass: the clean text of each conversation becomes tokens on its side of the split."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_med.data.preparation.clean_pass import CleanRows, Tell
from lightning_med.data.preparation.recipe import Recipe
from lightning_med.data.preparation.report_figures import TokenStatistics
from lightning_med.data.preparation.text_spool import Spool
from lightning_med.data.preparation.token_shard import Coding, Task, encode_batch
from lightning_med.data.preparation.token_store import TEXTS, TokenWriter
from lightning_med.data.preparation.worker_pool import WorkerPool
from lightning_med.data.splits.group_split import SPLITS, Groups
from lightning_med.privacy.mask import mask
from lightning_med.tokenization.tokenizer import StoredTokenizer
from lightning_med.utils.allocator import release_freed_memory

_SHOWN = 10  # rows in the report, drawn at random


class SplitPlan:
    """Which conversations are kept, and where each goes.

    Args:
        read: All conversations.
        kept: The numbers of those that are kept.
        sides: `[kept]`, indices into `SPLITS`.
        groups: Of those that are kept.
    """

    def __init__(self, read: CleanRows, kept: np.ndarray, sides: np.ndarray, groups: Groups) -> None:
        self.read, self.kept = read, len(kept)
        self.sides = np.full(len(read.rows), -1, np.int8)
        self.sides[kept] = sides
        self.groups = np.zeros(len(read.rows), np.int64)
        self.groups[kept] = groups.labels
        self._starts = np.cumsum(read.turns) - read.turns

    def batches(self, spool: Spool) -> Iterator[tuple[pa.RecordBatch, int, int]]:
        """Each batch of the spool with the first of its conversations and the one after its last."""
        first, row = 0, 0
        for batch in spool.batches():
            row += len(batch)
            after = int(np.searchsorted(self._starts, row))
            yield batch, first, after
            first = after

    def part(self, batch: pa.RecordBatch, first: int, after: int, side: int) -> tuple[np.ndarray, pa.Table]:
        """A batch's conversations of one side, by number, and their texts in the store's schema."""
        chosen = first + np.flatnonzero(self.sides[first:after] == side)
        turns = self.read.turns[chosen]
        turn = np.arange(turns.sum()) - np.repeat(np.cumsum(turns) - turns, turns)
        texts = batch.take(pa.array(np.repeat(self._starts[chosen] - self._starts[first], turns) + turn))
        owner = np.repeat(chosen, turns)
        source = pa.DictionaryArray.from_arrays(pa.array(self.read.files[owner], pa.int32()), self.read.names)
        columns = [source, self.read.rows[owner], turn.astype(np.int32), self.groups[owner]]
        texts = [column.cast(pa.string()) for column in texts.columns]
        return chosen, pa.Table.from_arrays(
            [pa.array(c) if isinstance(c, np.ndarray) else c for c in [*columns, *texts]], schema=TEXTS
        )


def read_training_texts(plan: SplitPlan, spool: Spool) -> Iterator[str]:
    """Every question and answer of the training split, for a tokenizer to learn from."""
    for batch, first, after in plan.batches(spool):
        texts = plan.part(batch, first, after, SPLITS.index("train"))[1]
        yield from texts.column("question").to_pylist()
        yield from texts.column("answer").to_pylist()


def encode_splits(
    recipe: Recipe, plan: SplitPlan, spool: Spool, tokenizer: str, folder: Path, pool: WorkerPool, tell: Tell
) -> dict[str, Any]:
    """Writes the tokens and texts of every split.

    Returns:
        What the report says of the tokens, and a few rows.
    """
    stored = StoredTokenizer(tokenizer)
    read, statistics, done = plan.read, TokenStatistics(stored.vocab_size), 0
    random = np.random.default_rng(recipe.seed % 2**32)
    drawn = random.choice(np.flatnonzero(plan.sides >= 0), min(_SHOWN, plan.kept), replace=False)
    shown: list[dict[str, Any]] = []
    lengths = (recipe.max_length, recipe.eval_max_length, recipe.eval_max_length)
    coding = Coding(tokenizer, stored.vocab_size, recipe.system_prompt, lengths)
    release_freed_memory()
    source = np.array(read.owners)
    waiting: deque[tuple[pa.RecordBatch, int, int]] = deque()

    def tasks() -> Iterator[Task]:
        for batch, first, after in plan.batches(spool):
            waiting.append((batch, first, after))
            yield batch, read.turns[first:after], plan.sides[first:after]

    with ExitStack() as stack:
        writers = [stack.enter_context(TokenWriter(folder, split, stored.vocab_size)) for split in SPLITS]
        for shards in pool.ordered(partial(encode_batch, coding=coding), tasks()):
            batch, first, after = waiting.popleft()
            for side, (split, shard) in enumerate(zip(SPLITS, shards, strict=True)):
                chosen, texts = plan.part(batch, first, after, side)
                writers[side].add(shard, source[read.files[chosen]], texts)
                statistics.add(split, shard)
                shown += [_show_row(split, texts, read, row) for row in np.intersect1d(chosen, drawn)]
                done += len(chosen)
            tell("encoding", done, plan.kept)
    return {
        "tokens": statistics.tokens(),
        "lengths": statistics.lengths(),
        "vocabulary": statistics.vocabulary(stored.backend_tokenizer),
        "rows": shown,
    }


def _show_row(split: str, texts: pa.Table, read: CleanRows, row: int) -> dict[str, Any]:
    """A row for people to look at: without private data, even where the prepared data keeps it."""
    found = [
        text
        for text in texts.filter(pc.equal(texts.column("row"), int(read.rows[row]))).to_pylist()
        if text["source"] == read.names[int(read.files[row])]
    ]
    asked, replied = ("\n".join(mask(text[name])[0] for text in found) for name in ("question", "answer"))
    return {"split": split, "source": found[0]["source"], "row": found[0]["row"], "question": asked, "answer": replied}
