"""Finds rows whose question or answer nearly equals one of a table that the data is checked against.

The tables are held as hashes, about 4 KB a row; our rows come chunk by chunk, and of them a few bits a row are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lightning_med.data.leaks.compared_texts import COLUMNS, ComparedTexts, TableChunk
from lightning_med.data.splits.shingle_index import ShingleIndex
from lightning_med.data.splits.shingle_sets import ShingleSets, hash_sets
from lightning_med.data.splits.word_hashes import mix_bits
from lightning_med.privacy.mask import mask
from lightning_med.utils.errors import InputError

IN_CHECKED_TABLE = "in_checked_table"  # the rule, in the report, by which rows are left out
_EXAMPLES = 3  # kept of each table and column
_SHOWN = 300  # characters of an example


class CheckedRows:
    """Collects the hashes of the tables' rows.

    Args:
        names: Of the tables.
        digests: Of their content.
    """

    def __init__(self, names: Sequence[str], digests: Sequence[str]) -> None:
        self.files: dict[str, dict[str, Any]] = {
            name: {"rows": 0, "digest": digest, "questions": 0, "answers": 0, "bad_rows": 0}
            for name, digest in zip(names, digests, strict=True)
        }
        self._parts: list[list[tuple[ShingleSets, np.ndarray, np.ndarray]]] = [[] for _ in COLUMNS]

    def add(self, table: int, chunk: TableChunk) -> None:
        """Adds a chunk of a table, given by its number."""
        self.files[list(self.files)[table]]["rows"] += chunk.rows_in
        for parts, texts in zip(self._parts, chunk.compared, strict=True):
            parts.append((texts.sets, np.full(len(texts.sets), table), chunk.rows[texts.places]))

    @property
    def rows_in(self) -> int:
        """Rows read."""
        return sum(file["rows"] for file in self.files.values())

    def close_table(self, table: int, bad_rows: int) -> None:
        """Counts a table's unreadable rows.

        Raises:
            InputError: It has no other.
        """
        name = list(self.files)[table]
        self.files[name]["bad_rows"] = bad_rows
        if not self.files[name]["rows"]:
            raise InputError(f"{name}: it holds no row to check against.", "Leave it out of --data.check_against.")

    def join(self, column: int) -> tuple[ShingleSets, np.ndarray, np.ndarray]:
        """Returns the different texts of a column, and the table and the row that each is first met in."""
        parts = self._parts[column]
        values = np.concatenate([np.empty(0, np.uint64), *(sets.values for sets, _, _ in parts)])
        sizes, tables, rows = (
            np.concatenate([np.empty(0, np.int64), *arrays])
            for arrays in ([sets.sizes for sets, _, _ in parts], [part[1] for part in parts], [p[2] for p in parts])
        )
        sets = ShingleSets.from_sizes(values, sizes)
        different = np.sort(np.unique(mix_bits(hash_sets(sets)) + tables.astype(np.uint64), return_index=True)[1])
        return sets.select(different), tables[different], rows[different]


class LeakSearch:
    """Finds the rows that nearly equal those of tables, and counts them.

    Args:
        checked: Of all tables.
    """

    def __init__(self, checked: CheckedRows) -> None:
        self._files, self._left_out = checked.files, 0
        self._columns = []
        for column in range(len(COLUMNS)):
            sets, tables, rows = checked.join(column)
            self._columns.append((ShingleIndex(sets), tables, rows))
        self._found: list[np.ndarray] = [np.empty((0, len(COLUMNS), len(self._files)), bool)]
        self._examples: list[dict[str, Any]] = []

    def add(
        self, source: str, rows: np.ndarray, turns: np.ndarray, texts: pa.RecordBatch, compared: list[ComparedTexts]
    ) -> None:
        """Searches a chunk of our rows.

        Args:
            source: The name of its file.
            rows, turns, texts: See `Chunk`.
            compared: Hashes of the texts.
        """
        owners, names = np.repeat(np.arange(len(rows)), turns), list(self._files)
        found = np.zeros((len(rows), len(COLUMNS), len(names)), bool)
        for number, (own, (index, tables, table_rows)) in enumerate(zip(compared, self._columns, strict=True)):
            pairs = index.find(own.sets)
            places, numbers = own.places[pairs[:, 0]], tables[pairs[:, 1]]
            found[owners[places], number, numbers] = True
            for table, pair in _choose_first(numbers, places):
                row, text = int(rows[owners[places[pair]]]), texts.column(COLUMNS[number])[int(places[pair])].as_py()
                there = {"table": names[table], "table_row": int(table_rows[pairs[pair, 1]])}
                self._keep_example({"column": COLUMNS[number], "source": source, "row": row, **there}, text)
        self._found.append(found)

    def _keep_example(self, place: dict[str, Any], text: str) -> None:
        kind = (place["table"], place["column"])
        if sum((known["table"], known["column"]) == kind for known in self._examples) < _EXAMPLES:
            masked = mask(text, answer=place["column"] == "answer")[0]
            self._examples.append({**place, "text": masked[:_SHOWN]})

    def select_others(self, kept: np.ndarray) -> np.ndarray:
        """Returns the rows, of those that are kept so far, that equal none of a table; counts the others.

        Args:
            kept: Numbers of rows, over all chunks.
        """
        found = np.concatenate(self._found)[kept]
        for counts, table in zip(self._files.values(), np.moveaxis(found, 2, 0), strict=True):
            counts["questions"], counts["answers"] = (int(count) for count in table.sum(axis=0))
        leaked = found.any(axis=(1, 2))
        self._left_out = int(leaked.sum())
        return kept[~leaked]

    @property
    def left_out(self) -> int:
        """Rows that are left out."""
        return self._left_out

    def report(self) -> dict[str, Any]:
        """Returns rows, digest and our equal questions and answers by table, the rows left out, and a few of them."""
        return {"files": self._files, "left_out": self._left_out, "examples": self._examples}


def _choose_first(tables: np.ndarray, places: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields each table with the first pairs that it is in, at most `_EXAMPLES` of different places."""
    for table in np.unique(tables):
        pairs = np.flatnonzero(tables == table)
        for first in np.unique(places[pairs], return_index=True)[1][:_EXAMPLES]:
            yield int(table), int(pairs[first])


def describe_leaks(report: dict[str, Any]) -> str | None:
    """Returns one line about the rows that were left out, for the console; `None` where nothing was checked.

    Args:
        report: The data report.
    """
    checked = report.get("checked_against")
    if not checked:
        return None
    files = "; ".join(
        f"{name} ({file['rows']:,} rows): {file['questions']:,} equal or nearly equal questions,"
        f" {file['answers']:,} answers"
        for name, file in checked["files"].items()
    )
    count = checked["left_out"]
    return f"check_against: {count:,} row{'s' * (count != 1)} left out of all splits. {files}."
