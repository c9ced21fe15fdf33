"""From sources to tokens on disk: read, clean, group, split, encode; once, and found again by a fingerprint."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from transformers import PreTrainedTokenizerFast

from lightning_med.data.preparation.clean_pass import CleanRows, Tell, find_unrepeated, read_rows
from lightning_med.data.preparation.recipe import Files, Recipe, digest_content
from lightning_med.data.preparation.text_spool import Spool
from lightning_med.data.preparation.token_pass import SplitPlan, encode_splits, read_training_texts
from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.data.preparation.worker_pool import WorkerPool, count_cores
from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.source import find_files
from lightning_med.data.splits.group_split import SPLITS, assign_splits, group_rows
from lightning_med.tokenization.tokenizer import (
    read_tokenizer_text,
    restore_tokenizer,
    store_tokenizer,
    train_tokenizer,
)
from lightning_med.utils.allocator import release_freed_memory
from lightning_med.utils.console import show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import get_umask, sync_files

_SMALL = 4 << 20  # bytes of tables that one process has prepared before others have started
_LARGEST = 5  # groups whose size the report names


@dataclass
class Prepared:
    """A prepared data set on disk.

    Attributes:
        folder: Holds `train.arrow`, `train.parquet`, the same of `validation` and `test`, `tokenizer.txt`,
            `report.json`.
        fingerprint: Of all that shaped it.
        report: What was read, dropped, mended and kept; see docs/data.md.
        tokenizer: The one that encoded it.
        cached: Whether it was found rather than made.
    """

    folder: Path
    fingerprint: str
    report: dict[str, Any]
    tokenizer: PreTrainedTokenizerFast
    cached: bool

    def store(self, split: str) -> TokenStore:
        with _refuse_damaged(self.folder):
            return TokenStore(self.folder, split)


def find_cache_root(cache_dir: str | None) -> Path:
    """Where prepared data lies: `cache_dir`, else `$LIGHTNING_MED_CACHE`, else `~/.cache/lightning_med`."""
    return Path(cache_dir or os.environ.get("LIGHTNING_MED_CACHE") or "~/.cache/lightning_med").expanduser()


def prepare(recipe: Recipe, cache_dir: str | None = None, tokenizer_text: str | None = None) -> Prepared:
    """Finds the prepared data in the cache, or makes it there, whole or not at all.

    Args:
        recipe: What shapes it.
        cache_dir: See `cache_root`.
        tokenizer_text: A checkpoint's own tokenizer, to be used in place of the recipe's.

    Raises:
        InputError: A source, its columns, the tokenizer or a setting is wrong.
    """
    files = [(number, file) for number, source in enumerate(recipe.sources) for file in find_files(source.path)]
    twice = [str(file) for file, times in Counter(file.resolve() for _, file in files).items() if times > 1]
    if twice:
        raise InputError(f"{twice[0]} is named twice by --data.source.", "To show its rows twice an epoch: weight: 2.")
    content = digest_content(files)
    root = find_cache_root(cache_dir)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not os.access(root, os.W_OK):
            raise PermissionError
    except OSError as error:
        raise InputError(f"The cache {root} cannot be written.", "Name another: --data.cache_dir FOLDER") from error
    text = tokenizer_text
    if recipe.tokenizer == "train":
        trained = root / recipe.fingerprint(content, None)
        if text is None or _read_tokenizer(trained) == text:  # a checkpoint's own, of the fit's own data
            return _find_or_make(recipe, files, content, None, trained)
    elif text is None:
        text = read_tokenizer_text(recipe.tokenizer, root)
    return _find_or_make(recipe, files, content, text, root / recipe.fingerprint(content, text))


def _find_or_make(recipe: Recipe, files: Files, content: bytes, tokenizer: str | None, folder: Path) -> Prepared:
    with FileLock(_lock_path(folder)):
        cached = folder.is_dir()
        if not cached:
            _make(recipe, files, content, tokenizer, folder)
    with _refuse_damaged(folder):
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        restored = restore_tokenizer(_read_tokenizer(folder))
    report["recipe"] = recipe.described()  # equal data may have been prepared from another place
    for source, weight in zip(report["sources"], _list_weights(recipe, files), strict=True):
        source["weight"] = weight
    return Prepared(folder, folder.name, report, restored, cached)


@contextmanager
def _refuse_damaged(folder: Path) -> Iterator[None]:
    """What goes wrong in reading prepared data, as one clear line."""
    try:
        yield
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise InputError(f"The prepared data {folder} is damaged.", "Delete that folder and run again.") from error


def _list_weights(recipe: Recipe, files: Files) -> list[float]:
    return [recipe.sources[number].weight for number, _ in files]


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _read_tokenizer(folder: Path) -> str:
    path = folder / "tokenizer.txt"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _make(recipe: Recipe, files: Files, content: bytes, tokenizer: str | None, folder: Path) -> None:
    _remove_leftovers(folder.parent, folder.name)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with show_progress("Preparing the consultations") as tell:
            _build(recipe, files, tokenizer, temporary, tell)
        if digest_content(files) != content:
            raise InputError("A source changed while it was read.", "Run again once it is written.")
        temporary.chmod(0o777 & ~get_umask())  # made private, as temporary things are; a cache may be shared
        sync_files(temporary)
        os.replace(temporary, folder)
        sync_files(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(root: Path, own: str) -> None:
    """Removes what preparations that were killed left behind; those that still run hold their lock."""
    for left in root.glob(".*-*"):
        name = left.name[1:].rsplit("-", 1)[0]
        if name == own:  # its lock is ours
            shutil.rmtree(left, ignore_errors=True)
        elif left.is_dir() and (root / f"{name}.lock").exists():
            try:
                with FileLock(root / f"{name}.lock", timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
            except Timeout:
                pass


def _build(recipe: Recipe, files: Files, tokenizer: str | None, folder: Path, tell: Tell) -> None:
    bad = BadRows(recipe.on_bad_row)
    size = sum(file.stat().st_size for _, file in files)
    with Spool(folder / "spool") as spool, WorkerPool(count_cores() if size > _SMALL else 1) as pool:
        read = read_rows(recipe, files, bad, spool, pool, tell)
        kept = find_unrepeated(recipe, read)
        if not len(kept):
            raise _explain_no_rows(recipe, read, bad)
        tell("looking for near-duplicates", 0, 0)
        sets = spool.shingles().select(kept) if recipe.near_duplicates else None
        questions, patients = read.questions[kept], read.patients[kept]
        groups = group_rows(questions, patients, read.answers[kept], sets)
        keys = np.where(patients != 0, patients, read.origins[kept])
        del sets
        release_freed_memory()
        sides, moved = assign_splits(groups, keys, recipe.seed, recipe.test_fraction, recipe.val_fraction)
        plan = SplitPlan(read, kept, sides, groups)
        if tokenizer is None:
            tell("training the tokenizer", 0, 0)
            tokenizer = store_tokenizer(train_tokenizer(read_training_texts(plan, spool), recipe.vocab_size))
        told = encode_splits(recipe, plan, spool, tokenizer, folder, pool, tell)
    sizes = np.sort(np.bincount(groups.labels))[::-1][:_LARGEST]
    report = {
        **read.report(recipe, kept, bad),
        "splits": {split: int((sides == index).sum()) for index, split in enumerate(SPLITS)},
        "groups": groups.count,
        "leaks_joined": len(kept) - groups.count,
        "near_pairs": groups.near_pairs,
        "moved_groups": moved,
        "largest_groups": [int(size) for size in sizes if size > 1],
        **told,
    }
    (folder / "tokenizer.txt").write_text(tokenizer, encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")


def _explain_no_rows(recipe: Recipe, read: CleanRows, bad: BadRows) -> InputError:
    rows = sum(read.rows_in.values()) + bad.count
    dropped = [f"{count} {rule}" for rule, count in read.counts.items() if count and recipe.rules[rule]]
    dropped += [f"{bad.count} unreadable"] if bad.count else []
    what = f"no consultation is left of {rows} rows ({', '.join(dropped)})" if rows else "a header, but no row"
    where = ", ".join(source.path for source in recipe.sources)
    return InputError(f"{where}: {what}.", "Each row needs a question and an answer.")
