"""Tokens on disk: one Hugging Face Arrow data set a split, read without copying."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset, disable_progress_bars, enable_progress_bars

from lightning_med.data.tokens import ANSWER, QUESTION, Encoded

SCHEMA = pa.schema(
    {
        "input_ids": pa.list_(pa.int32()),
        "parts": pa.list_(pa.uint8()),
        "answer_bytes": pa.int32(),
        "question": pa.string(),
        "answer": pa.string(),
        "source": pa.string(),
        "row": pa.int64(),
    }
)


def record(encoded: list[Encoded], texts: dict[str, list[object]]) -> pa.RecordBatch:
    """Encoded consultations and their texts as one Arrow batch in `SCHEMA`.

    Args:
        encoded: The tokens.
        texts: The columns `question`, `answer`, `source` and `row`.
    """
    columns = {
        "input_ids": pa.array([row.input_ids for row in encoded], SCHEMA.field("input_ids").type),
        "parts": pa.array([row.parts for row in encoded], SCHEMA.field("parts").type),
        "answer_bytes": [row.answer_bytes for row in encoded],
        **texts,
    }
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def write(batches: list[pa.RecordBatch], folder: Path) -> None:
    """Writes one split as a data set that `datasets.load_from_disk` reads too."""
    disable_progress_bars()  # ours covers the whole preparation
    try:
        Dataset(pa.Table.from_batches(batches, schema=SCHEMA)).save_to_disk(str(folder), num_shards=1)
    finally:
        enable_progress_bars()


class TokenStore:
    """The tokens of one split, mapped from disk.

    Attributes:
        lengths: `[rows]`, int64, tokens of each consultation.
        answer_bytes: `[rows]`, int32.
    """

    def __init__(self, folder: Path) -> None:
        self.table = Dataset.load_from_disk(str(folder))
        self._ids = _Ragged(self.table.data.column("input_ids"))
        self._parts = _Ragged(self.table.data.column("parts"))
        self.lengths = self._ids.lengths
        self.answer_bytes = self.table.data.column("answer_bytes").to_numpy()

    @cached_property
    def targets(self) -> dict[int, np.ndarray]:
        """By part, `[rows]`, int64: tokens that are predicted (the very first of a row never is)."""
        return {part: self._parts.count(part) for part in (ANSWER, QUESTION)}

    def __len__(self) -> int:
        return len(self.lengths)

    def input_ids(self, row: int) -> np.ndarray:
        """`[length]`, int32, read-only."""
        return self._ids[row]

    def parts(self, row: int) -> np.ndarray:
        """`[length]`, uint8, read-only; see `Encoded.parts`."""
        return self._parts[row]

    def texts(self, row: int) -> dict[str, object]:
        """`question`, `answer`, `source` and `row` of a consultation."""
        columns = ("question", "answer", "source", "row")
        return {name: self.table.data.column(name)[int(row)].as_py() for name in columns}


class _Ragged:
    """A column of lists as NumPy views, chunk by chunk: no copy, no Python object a row."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        chunks = [chunk for chunk in column.chunks if len(chunk)]
        self._values = [chunk.values.to_numpy() for chunk in chunks]
        self._offsets = [chunk.offsets.to_numpy() for chunk in chunks]
        self._first = np.cumsum([0] + [len(chunk) for chunk in chunks])
        self.lengths = np.concatenate([np.diff(o) for o in self._offsets] or [np.empty(0)]).astype(np.int64)

    def __getitem__(self, row: int) -> np.ndarray:
        chunk = int(np.searchsorted(self._first, row, side="right")) - 1
        offsets, local = self._offsets[chunk], row - self._first[chunk]
        return self._values[chunk][offsets[local] : offsets[local + 1]]

    def count(self, wanted: int) -> np.ndarray:
        """How often a value stands in each list, its first place left out: nothing predicts that."""
        counts = []
        for values, offsets in zip(self._values, self._offsets, strict=True):
            running = np.concatenate([[0], np.cumsum(values == wanted)])
            inside = offsets[1:] > offsets[:-1]
            first = np.zeros(len(inside), dtype=np.int64)
            first[inside] = values[offsets[:-1][inside]] == wanted
            counts.append(running[offsets[1:]] - running[offsets[:-1]] - first)
        return np.concatenate(counts or [np.empty(0)]).astype(np.int64)
