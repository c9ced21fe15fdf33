"""Clean, grouped rows on disk: the level of the cache that no tokenizer, prompt, length or seed changes.

Private data is replaced before anything is written here, unless `private_data` is off. What decides the side of a row
is a hash of the patient's number or of the question as it was read. Whoever has the clean text could guess what was
replaced and compare hashes, so these are encrypted with a secret that only the sources' content yields. A folder holds

- `texts.arrow`: question and answer of each exchange, compressed. They are read batch by batch, in order, so mapping
  them would gain nothing, and zstd makes them a third as large.
- an `.npy` file for each array: a few bytes a row, loaded as a whole.
- `report.json`: what the data report says of reading and cleaning.

Shingles are not kept: they would take more space than all the rest, and only the search for groups needs them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import shake_256
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from lightning_med.data.preparation.cache.cache_folder import refuse_damaged
from lightning_med.data.preparation.clean_chunk import TEXTS
from lightning_med.data.splits.row_groups import Groups

_TEXTS, _REPORT = "texts.arrow", "report.json"


class CleanRowWriter:
    """Writes clean rows; memory holds a batch of texts.

    Args:
        folder: Empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._texts = pa.ipc.new_file(str(folder / _TEXTS), TEXTS, options=options)

    def __enter__(self) -> CleanRowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._texts.close()

    def add_texts(self, texts: pa.RecordBatch) -> None:
        """Writes a batch of texts, one row an exchange, in `TEXTS`."""
        self._texts.write_batch(texts)

    def write_arrays(self, **arrays: np.ndarray) -> None:
        """Writes arrays; see the attributes of `CleanRowStore` and of `Groups` for their names."""
        for name, array in arrays.items():
            np.save(self._folder / f"{name}.npy", array, allow_pickle=False)

    def write_report(self, **report: Any) -> None:
        """Writes `sources`, `near_pairs` and `figures` as JSON; see `CleanRowStore` and `Groups`."""
        (self._folder / _REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")


def encrypt_keys(keys: np.ndarray, secret: bytes) -> np.ndarray:
    """Encrypts keys, or decrypts them again.

    Args:
        keys: `[keys]`, uint64.
        secret: Used for these keys alone.
    """
    stream = shake_256(secret).digest(keys.nbytes)
    return keys ^ np.frombuffer(stream, np.dtype(np.uint64).newbyteorder("<"))


class CleanRowStore:
    """Clean rows of the cache. A plain row is a conversation of one exchange.

    Args:
        folder: What `CleanRowWriter` wrote.
        secret: Decrypts the keys of the split.

    Attributes:
        files: `[conversations]`, int64, number of the file that each comes from.
        rows: `[conversations]`, int64, its row in that file.
        turns: `[conversations]`, int32, its exchanges.
        kept: `[kept]`, int64, numbers of the conversations that repeat no earlier one.
        split_keys: `[kept]`, uint64, hash of the patient, or of the question as it was read; decides the side.
        groups: Of the conversations that are kept.
        sources: `[files]`, int64, number of the source that each file belongs to.
        names: Of the files.
        figures: What the data report says of reading and cleaning.

    Raises:
        InputError: A file is missing or damaged.
    """

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder = folder
        with refuse_damaged(folder):
            self.files, self.rows, self.turns, self.kept, encrypted, labels, founders = (
                np.load(folder / f"{name}.npy", allow_pickle=False)
                for name in ("files", "rows", "turns", "kept", "split_keys", "labels", "founders")
            )
            self.split_keys = encrypt_keys(encrypted, secret)
            report = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
            self.groups = Groups(labels, founders, report["near_pairs"])
            self.sources = np.array(report["sources"], np.int64)
            self.figures: dict[str, Any] = report["figures"]
            self.names: list[str] = self.figures["files"]

    def read_texts(self) -> Iterator[pa.RecordBatch]:
        """Yields the texts batch by batch, one row an exchange, in the order of the rows.

        Raises:
            InputError: The file is damaged.
        """
        with (
            refuse_damaged(self._folder),
            pa.OSFile(str(self._folder / _TEXTS)) as file,
            pa.ipc.open_file(file) as reader,
        ):
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)
