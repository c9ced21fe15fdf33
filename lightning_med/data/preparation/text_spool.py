"""Clean text on its way: written once while the rows are read, read again once their sides are known.

Only what grouping needs stays in memory. Private data is gone before anything comes here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from lightning_med.data.preparation.clean_chunk import TEXTS, Chunk
from lightning_med.data.splits.near_duplicates import ShingleSets


class Spool:
    """Texts and shingles of chunks, in files that vanish at the end.

    Args:
        folder: Made, and removed at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._texts = pa.ipc.new_file(str(folder / "texts.arrow"), TEXTS)
        self._hashes = (folder / "shingles").open("wb")
        self._sizes: list[np.ndarray] = []

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
        for file in self._folder.iterdir():
            file.unlink()
        self._folder.rmdir()

    def add(self, chunk: Chunk) -> None:
        """Writes a chunk's texts and shingles."""
        self._texts.write_batch(chunk.texts)
        hashes, sizes = chunk.shingles
        hashes.tofile(self._hashes)
        self._sizes.append(sizes)

    def finish(self) -> None:
        """Nothing more will come."""
        self._texts.close()
        self._hashes.close()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The texts of each chunk, in order."""
        with pa.OSFile(str(self._folder / "texts.arrow")) as file, pa.ipc.open_file(file) as reader:
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)

    def shingles(self) -> ShingleSets:
        """The sets of all questions, mapped from disk."""
        sizes = np.concatenate(self._sizes or [np.empty(0, np.int64)])
        path = self._folder / "shingles"
        empty = not path.stat().st_size
        return ShingleSets.of(np.empty(0, np.uint64) if empty else np.memmap(path, np.uint64, "r"), sizes)
