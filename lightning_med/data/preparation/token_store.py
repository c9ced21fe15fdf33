"""Tokens on disk: those of a split as one Arrow file, its texts beside them as Parquet.

The tokens are mapped into memory; `datasets.Dataset.from_file` opens them too. They take two bytes each where the
vocabulary allows it. What each token is for is stored as the lengths of a few stretches.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset

from lightning_med.data.preparation.token_shard import Shard
from lightning_med.data.splits.word_hashes import MAX_TEXTS, WordHashes
from lightning_med.tokenization.consultation import ANSWER, CYCLE, QUESTION, expand_runs

TEXTS = pa.schema(
    {
        "source": pa.dictionary(pa.int32(), pa.string()),
        "row": pa.int64(),
        "turn": pa.int32(),
        "group": pa.int64(),
        "question": pa.string(),
        "answer": pa.string(),
        "learned": pa.bool_(),
    }
)
_ROW_GROUP = 20_000  # rows compressed together


def make_schema(vocabulary: int) -> pa.Schema:
    """Returns the columns of a split's tokens; `source` is the number of a source."""
    return pa.schema(
        {
            "input_ids": pa.list_(pa.uint16() if vocabulary <= 1 << 16 else pa.int32()),
            "runs": pa.list_(pa.int32()),
            "answer_bytes": pa.int32(),
            "source": pa.int16(),
        }
    )


class TokenWriter:
    """Writes one split, batch by batch; memory holds a batch.

    Args:
        folder: Receives the files `SPLIT.arrow` and `SPLIT.parquet`.
        split: Its name.
        vocabulary: Every id is below it.
    """

    def __init__(self, folder: Path, split: str, vocabulary: int) -> None:
        self._schema = make_schema(vocabulary)
        self._files = [(folder / f"{split}.{ending}").open("wb") for ending in ("arrow", "parquet")]
        self._tokens = pa.ipc.new_stream(self._files[0], self._schema)
        self._texts = pq.ParquetWriter(self._files[1], TEXTS, compression="zstd", use_dictionary=["source"])

    def __enter__(self) -> TokenWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in (self._tokens, self._texts):
            writer.close()
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
            file.close()

    def add(self, shard: Shard, sources: np.ndarray, texts: pa.Table) -> None:
        """Adds conversations.

        Args:
            shard: Their tokens.
            sources: `[conversations]`, number of the source of each.
            texts: One row an exchange, in `TEXTS`.
        """
        columns = [
            _make_lists(shard.input_ids, shard.lengths, self._schema.field("input_ids").type),
            _make_lists(shard.runs, shard.stretches, self._schema.field("runs").type),
            pa.array(shard.answer_bytes, pa.int32()),
            pa.array(sources, pa.int16()),
        ]
        self._tokens.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._texts.write_table(texts, row_group_size=_ROW_GROUP)


def _make_lists(values: np.ndarray, lengths: np.ndarray, list_type: pa.ListType) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, list_type.value_type), type=list_type)


class TokenStore:
    """One split, its tokens mapped from disk.

    Attributes:
        lengths: `[rows]`, int64, number of tokens of each consultation.
        answer_bytes: `[rows]`, int32, UTF-8 bytes of the answers.
        sources: `[rows]`, int16, number of the source of each consultation.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self.table = Dataset.from_file(str(folder / f"{split}.arrow"))
        self._texts = folder / f"{split}.parquet"
        self._ids = _RaggedColumn(self.table.data.column("input_ids"))
        self._runs = _RaggedColumn(self.table.data.column("runs"))
        self.lengths = self._ids.lengths
        self.answer_bytes = self.table.data.column("answer_bytes").to_numpy()
        self.sources = self.table.data.column("source").to_numpy()

    @cached_property
    def targets(self) -> dict[int, np.ndarray]:
        """By part, `[rows]`, int64: number of tokens that are predicted (the first token of a row never is)."""
        part = np.concatenate([np.resize(CYCLE, length) for length in self._runs.lengths] or [CYCLE[:0]])
        row = np.repeat(np.arange(len(self)), self._runs.lengths)
        runs = self._runs.flatten()
        return {
            target: np.bincount(row[part == target], runs[part == target], minlength=len(self)).astype(np.int64)
            for target in (ANSWER, QUESTION)
        }

    def __len__(self) -> int:
        return len(self.lengths)

    def input_ids(self, row: int) -> np.ndarray:
        """`[length]`, uint16 or int32, read-only: the tokens of a consultation."""
        return self._ids[row]

    def parts(self, row: int) -> np.ndarray:
        """`[length]`, uint8: what each token is for; see `EncodedConsultation.parts`."""
        return expand_runs(self._runs[row])

    def texts(self, row: int) -> dict[str, Any]:
        """Returns `source`, `row`, `group`, and the first `question` and `answer` of a consultation.

        The answer is empty where it is not to be learned: it is no reference.
        """
        table, first = self._table
        exchange = table.slice(int(first[row]), 1).to_pylist()[0]
        answer = exchange["answer"] if exchange["learned"] else ""
        return {**{name: exchange[name] for name in ("source", "row", "group", "question")}, "answer": answer}

    def list_texts(self) -> list[dict[str, Any]]:
        """Returns `texts` of all rows."""
        table, first = self._table
        names = ["source", "row", "group", "question", "answer", "learned"]
        rows: list[dict[str, Any]] = table.select(names).take(first).to_pylist()
        return [{**row, "answer": row["answer"] if row.pop("learned") else ""} for row in rows]

    @cached_property
    def question_keys(self) -> np.ndarray:
        """`[rows]`, uint64: equal where two first questions differ in case, punctuation and spacing alone."""
        table = pq.read_table(self._texts, columns=["question", "turn"])  # freed on return: only the keys are kept
        questions = table.filter(pc.equal(table.column("turn"), 0)).column("question").combine_chunks()
        blocks = [questions.slice(start, MAX_TEXTS) for start in range(0, len(questions), MAX_TEXTS)]
        keys = [WordHashes.from_texts(block).compute_keys() for block in blocks]
        return np.concatenate(keys or [np.empty(0, np.uint64)])

    @cached_property
    def _table(self) -> tuple[pa.Table, np.ndarray]:
        """All texts, and the place of each consultation's first exchange."""
        table = pq.read_table(self._texts)
        return table, np.flatnonzero(table.column("turn").to_numpy() == 0)


class _RaggedColumn:
    """A column of lists as NumPy views, chunk by chunk, without a copy or a Python object for each row."""

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

    def flatten(self) -> np.ndarray:
        """Returns a copy of all values, end to end."""
        return np.concatenate(self._values or [np.empty(0, np.int32)])
