"""Reads Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.table_columns import Columns, Record, check_columns
from lightning_med.data.sources.table_streams import open_whole
from lightning_med.utils.errors import InputError

_BATCH = 2_500  # rows of Python objects held at once


def read_parquet(path: Path, columns: Columns, bad: BadRows, met: set[str]) -> Iterator[Record]:
    """Yields the records of a Parquet file.

    Raises:
        InputError: A column is missing, or the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with open_whole(path) as whole, pq.ParquetFile(whole) as file:
            check_columns(path, columns, file.schema_arrow.names, met)
            for batch in file.iter_batches(_BATCH, columns=[*columns.values()]):
                for cells in zip(*(_convert_cells(batch.column(name)) for name in columns.values()), strict=True):
                    yield row, 0, list(cells)
                    row += 1
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged or not a Parquet file: {error}", "Fetch or write it again.") from error


def _convert_cells(column: Any) -> list[Any]:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:  # keep such bytes as lone surrogates, so that the message can name their row
        cells = column.cast("binary").to_pylist()
        return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in cells]
