"""The first pass: every row is read, cleaned and described, then grouped with those it must share a side with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd

from lightning_med.data.cleaning.cleaning_rules import DUPLICATE
from lightning_med.data.leaks.checked_tables import read_checked_table
from lightning_med.data.leaks.compared_texts import hash_table
from lightning_med.data.leaks.leak_search import IN_CHECKED_TABLE, CheckedRows, LeakSearch
from lightning_med.data.preparation.clean_chunk import Chunk, Steps, clean_chunk
from lightning_med.data.preparation.clean_counts import CleanCounts
from lightning_med.data.preparation.clean_rows import CleanRowWriter, encrypt_keys
from lightning_med.data.preparation.recipe import Files, Recipe
from lightning_med.data.preparation.worker_pool import WorkerPool
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.source_files import name_files, note_left_out
from lightning_med.data.sources.source_reader import SourceReader, make_readers
from lightning_med.data.splits.row_groups import Groups, group_rows
from lightning_med.data.splits.shingle_sets import ShingleSets
from lightning_med.utils.console import Progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.memory.allocator import release_freed_memory

_ARRAYS = ("turns", "rows", "digests", "questions", "origins", "patients", "answers")  # of a `Chunk`


def clean_rows(recipe: Recipe, files: Files, secret: bytes, folder: Path, pool: WorkerPool, progress: Progress) -> None:
    """Reads, cleans and groups the rows of all files and writes them to a folder, for `CleanRowStore`.

    Args:
        recipe: The settings.
        files: Each with the number of its source.
        secret: Encrypts the keys of the split; see `clean_rows.py`.
        folder: Empty.
        pool: Cleans the chunks.
        progress: Receives the progress.

    Raises:
        InputError: A file or a column is missing or malformed, or no row is left.
    """
    counts, bad = CleanCounts(name_files([file for _, file in files])), BadRows(recipe.on_bad_row)
    readers = make_readers(recipe.sources, files, bad)
    search = _read_checked_tables(recipe, pool, progress) if recipe.checked_tables else None
    with CleanRowWriter(folder) as writer, _ShingleFile(folder / "shingles") as shingles:

        def add(file: int, chunk: Chunk) -> None:
            counts.add(file, chunk)
            writer.add_texts(chunk.texts)
            shingles.add(chunk)
            if search:
                search.add(counts.names[file], chunk.rows, chunk.turns, chunk.texts, chunk.compared)
            progress(f"reading and cleaning, {counts.rows_in:,} rows", 0, 0)

        arrays = _collect_arrays(_clean_chunks(recipe, files, readers, pool), add)
        kept = _find_unrepeated(recipe, arrays["digests"], counts) if arrays else np.empty(0, np.int64)
        if search and len(kept):
            kept = search.select_others(kept)
        if not len(kept):
            raise _explain_no_rows(recipe, counts, bad, search)
        progress("looking for near-duplicates", 0, 0)
        groups = _group(recipe, arrays, kept, shingles)
        release_freed_memory()
        patients = arrays["patients"][kept]
        split_keys = encrypt_keys(np.where(patients != 0, patients, arrays["origins"][kept]), secret)
        writer.write_arrays(**{name: arrays[name] for name in ("files", "rows", "turns")})
        writer.write_arrays(kept=kept, split_keys=split_keys, labels=groups.labels, founders=groups.founders)
        notes = [note for source in recipe.sources for note in note_left_out(source.path)]
        notes += [note for reader in readers for note in reader.notes]
        figures = counts.report(recipe, arrays["files"][kept], bad, notes)
        figures["checked_against"] = search.report() if search else None
        if search:
            figures["rules"][IN_CHECKED_TABLE], figures["effects"][IN_CHECKED_TABLE] = search.left_out, "dropped"
        writer.write_report(sources=[number for number, _ in files], near_pairs=groups.near_pairs, figures=figures)


def _read_checked_tables(recipe: Recipe, pool: WorkerPool, progress: Progress) -> LeakSearch:
    """Reads the tables that the data is checked against."""
    tables, hash_frame = recipe.checked_tables, partial(hash_table, rules=recipe.rules, mask=recipe.private_data)
    checked = CheckedRows(name_files([Path(table.path) for table in tables]), [table.digest for table in tables])
    for number, table in enumerate(tables):
        bad = BadRows(recipe.on_bad_row)
        for chunk in pool.map_ordered(hash_frame, read_checked_table(table, recipe.sources, bad)):
            checked.add(number, chunk)
            progress(f"reading what is checked against, {checked.rows_in:,} rows", 0, 0)
        checked.close_table(number, bad.count)
    return LeakSearch(checked)


def _collect_arrays(chunks: Iterator[tuple[int, Chunk]], add: Callable[[int, Chunk], None]) -> dict[str, np.ndarray]:
    """Hands each chunk to `add` and joins the arrays of all, by name, with the file of each conversation."""
    parts: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    for file, chunk in chunks:
        add(file, chunk)
        parts["files"].append(np.full(len(chunk.rows), file))
        for name in _ARRAYS:
            parts[name].append(getattr(chunk, name))
    return {name: np.concatenate(parts.pop(name)) for name in tuple(parts)}


def _clean_chunks(
    recipe: Recipe, files: Files, readers: list[SourceReader], pool: WorkerPool
) -> Iterator[tuple[int, Chunk]]:
    """Yields the clean chunks of all files in order, each with the number of its file."""
    steps = Steps(recipe.rules, recipe.private_data, recipe.near_duplicates, bool(recipe.checked_tables))
    submitted: list[int] = []  # the file of each frame

    def read_all() -> Iterator[pd.DataFrame]:
        for index, (number, file) in enumerate(files):
            for frame in readers[number].read(file):
                submitted.append(index)
                yield frame

    for index, chunk in enumerate(pool.map_ordered(partial(clean_chunk, steps=steps), read_all())):
        yield submitted[index], chunk


def _find_unrepeated(recipe: Recipe, digests: np.ndarray, counts: CleanCounts) -> np.ndarray:
    """Returns the numbers of the conversations that repeat no earlier one; all of them where the rule is off."""
    if not recipe.rules[DUPLICATE]:
        return np.arange(len(digests))
    repeated = pd.DataFrame(digests).duplicated().to_numpy()
    counts.add_duplicates(int(repeated.sum()))
    return np.flatnonzero(~repeated)


def _group(recipe: Recipe, arrays: dict[str, np.ndarray], kept: np.ndarray, shingles: _ShingleFile) -> Groups:
    sets = shingles.map().select(kept) if recipe.near_duplicates else None
    return group_rows(arrays["questions"][kept], arrays["patients"][kept], arrays["answers"][kept], sets)


def _explain_no_rows(recipe: Recipe, counts: CleanCounts, bad: BadRows, search: LeakSearch | None) -> InputError:
    rows = counts.rows_in + bad.count
    dropped = counts.list_dropped(recipe) + ([f"{bad.count} unreadable"] if bad.count else [])
    hint = "Each row needs a question and an answer"
    if search and search.left_out:
        dropped.append(f"{search.left_out} {IN_CHECKED_TABLE}")
        hint += ", and none may be that of a table of --data.check_against"
    what = f"no consultation is left of {rows} rows ({', '.join(dropped)})" if rows else "a header, but no row"
    where = ", ".join(source.path for source in recipe.sources)
    return InputError(f"{where}: {what}.", f"{hint}.")


class _ShingleFile:
    """The shingles of all questions, on disk while rows are read and grouped; removed at the end.

    Args:
        path: The file to make.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._sizes: list[np.ndarray] = []

    def __enter__(self) -> _ShingleFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink()

    def add(self, chunk: Chunk) -> None:
        """Appends the sets of a chunk."""
        hashes, sizes = chunk.shingles
        hashes.tofile(self._file)
        self._sizes.append(sizes)

    def map(self) -> ShingleSets:
        """Returns the sets of all questions, mapped from the file."""
        self._file.flush()
        empty = not self._path.stat().st_size
        values = np.empty(0, np.uint64) if empty else np.memmap(self._path, np.uint64, "r")
        return ShingleSets.from_sizes(values, np.concatenate(self._sizes))
