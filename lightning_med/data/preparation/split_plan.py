"""Which conversations go to which split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from lightning_med.data.preparation.clean_rows import CleanRowStore
from lightning_med.data.preparation.token_store import TEXTS
from lightning_med.data.splits.group_split import SPLITS


class SplitPlan:
    """Which conversations are kept, and the split of each.

    Args:
        store: All conversations.
        sides: `[kept]`, indices into `SPLITS`, of those that are kept; -1 for those left out for a split's sake.

    Attributes:
        sides: `[conversations]`, int8, indices into `SPLITS`; -1 for those that are not kept.
    """

    def __init__(self, store: CleanRowStore, sides: np.ndarray) -> None:
        self.store = store
        self.sides = np.full(len(store.rows), -1, np.int8)
        self.sides[store.kept] = sides
        self._groups = np.zeros(len(store.rows), np.int64)
        self._groups[store.kept] = store.groups.labels
        self._starts = np.cumsum(store.turns) - store.turns

    def read_batches(self) -> Iterator[tuple[pa.RecordBatch, int, int]]:
        """Yields each batch of texts with the number of its first conversation and of the one after its last."""
        first, row = 0, 0
        for batch in self.store.read_texts():
            row += len(batch)
            after = int(np.searchsorted(self._starts, row))
            yield batch, first, after
            first = after

    def read_training_texts(self) -> Iterator[str]:
        """Yields every question and answer of the training split, for a tokenizer to learn from."""
        for batch, first, after in self.read_batches():
            texts = self.select(batch, first, after, SPLITS.index("train"))[1]
            yield from texts.column("question").to_pylist()
            yield from texts.column("answer").to_pylist()

    def select(self, batch: pa.RecordBatch, first: int, after: int, side: int) -> tuple[np.ndarray, pa.Table]:
        """Returns a batch's conversations of one side, by number, and their texts in the schema `TEXTS`."""
        store, chosen = self.store, first + np.flatnonzero(self.sides[first:after] == side)
        turns = store.turns[chosen]
        turn = np.arange(turns.sum()) - np.repeat(np.cumsum(turns) - turns, turns)
        texts = batch.take(pa.array(np.repeat(self._starts[chosen] - self._starts[first], turns) + turn))
        owner = np.repeat(chosen, turns)
        source = pa.DictionaryArray.from_arrays(pa.array(store.files[owner], pa.int32()), store.names)
        numbers = [store.rows[owner], turn.astype(np.int32), self._groups[owner]]
        own = [texts.column(name).cast(TEXTS.field(name).type) for name in texts.schema.names]
        columns = [source, *map(pa.array, numbers), *own]
        return chosen, pa.Table.from_arrays(columns, schema=TEXTS)
