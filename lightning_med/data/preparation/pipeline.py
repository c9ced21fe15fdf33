"""Prepares consultations: finds them in the cache, or reads, cleans, groups, splits and encodes them into it.

The cache has two levels. Clean rows depend on the sources and the cleaning settings alone; tokens depend on the
tokenizer, prompt, lengths, fractions and seed as well, and are made from clean rows. A source is then read for its
digest alone.
"""

from __future__ import annotations

import json
import weakref
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from lightning_med.data.leaks.checked_tables import find_checked_tables
from lightning_med.data.preparation.cache.cache_folder import CLEAN_ROWS, find_or_make, make_cache_root, refuse_damaged
from lightning_med.data.preparation.cache.key_parts import KeyParts
from lightning_med.data.preparation.cache.keys import describe_rows, describe_tokens
from lightning_med.data.preparation.cache.marks import Mark
from lightning_med.data.preparation.cache.source_digests import SourceDigests
from lightning_med.data.preparation.clean_pass import clean_rows
from lightning_med.data.preparation.clean_rows import CleanRowStore
from lightning_med.data.preparation.recipe import Files, Recipe
from lightning_med.data.preparation.token_pass import REPORT, TOKENIZER, encode_rows
from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.data.preparation.worker_pool import WorkerPool, count_cores
from lightning_med.data.sources.source_files import find_files
from lightning_med.data.sources.table_places import find_repeated, locate_table
from lightning_med.data.splits.own_splits import FileSplits, find_file_splits, sort_held_first
from lightning_med.tokenization.prompt_choice import choose_prompt
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import add_tokens, find_missing_tokens, read_tokenizer_text, restore_tokenizer
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError

_SMALL = 4 << 20  # bytes of tables that one process has prepared before others have started


@dataclass
class Prepared:
    """A prepared data set on disk.

    Attributes:
        folder: Holds `train.arrow`, `train.parquet`, the same of `validation` and `test`, `tokenizer.txt` and
            `report.json`.
        fingerprint: Key of everything that shaped it.
        report: What was read, dropped, repaired and kept, and the fingerprint's parts; see docs/data.md.
        tokenizer: The one that encoded it.
        prompt: The text around its questions and answers.
        cached: Whether it was found rather than made.
    """

    folder: Path
    fingerprint: str
    report: dict[str, Any]
    tokenizer: PreTrainedTokenizerFast
    prompt: Prompt
    cached: bool

    def store(self, split: str) -> TokenStore:
        """Opens the tokens of a split.

        Raises:
            InputError: They are damaged.
        """
        with refuse_damaged(self.folder):
            return TokenStore(self.folder, split)


@dataclass(frozen=True)
class _Own:
    """What a checkpoint brings along: its tokenizer as text, its prompt, and the parts of its data's fingerprint."""

    tokenizer: str | None
    prompt: Prompt | None
    parts: KeyParts | None


@dataclass(frozen=True)
class _Target:
    """What is wanted of the cache.

    Attributes:
        root: The folder of the cache.
        parts: What shapes both levels.
        tokenizer: As text; `None` where it is trained.
        prompt: Fits the tokenizer.
    """

    root: Path
    parts: KeyParts
    tokenizer: str | None
    prompt: Prompt

    @property
    def rows(self) -> Path:
        """The folder of clean rows."""
        return self.root / CLEAN_ROWS / self.parts.rows_key

    @property
    def tokens(self) -> Path:
        """The folder of tokens."""
        return self.root / self.parts.tokens_key


def prepare(
    recipe: Recipe,
    cache_dir: str | None = None,
    tokenizer_text: str | None = None,
    prompt: Prompt | None = None,
    parts: KeyParts | None = None,
) -> Prepared:
    """Finds the prepared data in the cache, or makes it there atomically.

    Args:
        recipe: What shapes it.
        cache_dir: See `find_cache_root`.
        tokenizer_text: A checkpoint's own tokenizer, used instead of the recipe's.
        prompt: A checkpoint's own prompt, used instead of the one that fits the tokenizer.
        parts: Of the fingerprint of a resumed run's data. That data is used even if this package or a library has
            changed since; it is never made again.

    Raises:
        InputError: A source, its columns, the tokenizer or a setting is wrong, the prepared data is damaged, or the
            data is not a resumed run's.
    """
    recipe, files = _find_source_files(recipe)
    recipe = _find_checked_tables(recipe, files)
    root = make_cache_root(cache_dir)
    digests = SourceDigests(root, files)
    own = _Own(tokenizer_text, prompt, parts)
    target, mark, cached = _find_and_mark(recipe, files, digests, root, own)
    folder = target.tokens
    with refuse_damaged(folder):
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        tokenizer = restore_tokenizer(_read_tokenizer(folder))
        for source, (number, _) in zip(report["sources"], files, strict=True):
            source["weight"] = recipe.sources[number].weight
    for note in [] if cached else report["notes"]:
        say(note)
    report["content"] = _digest_content(digests)
    report["recipe"] = recipe.to_dict()  # equal data may have been prepared from another place
    report["parts"] = target.parts.to_dict()
    prepared = Prepared(folder, folder.name, report, tokenizer, target.prompt, cached)
    weakref.finalize(prepared, mark.close)
    return prepared


def _find_source_files(recipe: Recipe) -> tuple[Recipe, Files]:
    """Returns the files in the order in which they are read, and the recipe with the owner's own splits of them."""
    files = [(number, file) for number, source in enumerate(recipe.sources) for file in find_files(source.path)]
    if again := find_repeated(file for _, file in files):
        raise InputError(
            f"{again[0]} is named twice by --data.source.",
            f"It was named as {again[1]}. To show its rows twice an epoch: weight: 2.",
        )
    paths, given = ([getattr(source, name) for source in recipe.sources] for name in ("path", "split"))
    files, splits = sort_held_first(files, find_file_splits(files, paths, given))
    return replace(recipe, file_splits=splits), files


def _find_checked_tables(recipe: Recipe, files: Files) -> Recipe:
    """Returns the recipe with the digests of the tables that the data is checked against."""
    tables = find_checked_tables(recipe.check_against, [file for _, file in files])
    return replace(recipe, checked_tables=tables)


def find_own_splits(recipe: Recipe) -> FileSplits:
    """Returns the owner's own split of each file of the sources; see `find_file_splits`."""
    return _find_source_files(recipe)[0].file_splits


def digest_sources(recipe: Recipe, cache_dir: str | None) -> str:
    """Returns the digest of the sources' content that the report of `prepare` holds, without preparing them."""
    _, files = _find_source_files(recipe)
    return _digest_content(SourceDigests(make_cache_root(cache_dir), files))


def _digest_content(digests: SourceDigests) -> str:
    return (digests.recall() or digests.compute()[0]).hex()


def _find_and_mark(
    recipe: Recipe, files: Files, digests: SourceDigests, root: Path, own: _Own
) -> tuple[_Target, Mark, bool]:
    """Finds or makes the tokens and marks them; returns whether they were found, too."""
    while True:
        target = _find_own(recipe, digests, root, own) or _recall(recipe, digests, root, own)
        cached = True
        if target is None:
            target, cached = _make(recipe, files, digests, root, own)
        mark = Mark(target.tokens)
        if mark.is_there:  # else the cache was cleared just then
            return target, mark, cached


def _recall(recipe: Recipe, digests: SourceDigests, root: Path, own: _Own) -> _Target | None:
    """Finds the tokens without reading a source."""
    content = digests.recall()
    if content is None:
        return None
    target = _locate(recipe, content, root, own)
    return target if target.tokens.is_dir() else None


def _make(recipe: Recipe, files: Files, digests: SourceDigests, root: Path, own: _Own) -> tuple[_Target, bool]:
    """Makes whichever level is missing; returns what was wanted, and whether the tokens were found after all."""
    content, content_secret = digests.compute()
    target = _locate(recipe, content, root, own)
    if target.tokens.is_dir():
        return target, True
    secret = content_secret + target.rows.name.encode()  # of these rows alone
    size = sum(file.stat().st_size for file in {locate_table(file).file for _, file in files})
    cores = count_cores() if size > _SMALL else 1
    with WorkerPool(cores) as pool, show_progress("Preparing the consultations") as progress:

        def make_rows(folder: Path) -> None:
            clean_rows(recipe, files, secret, folder, pool, progress)
            if digests.compute()[0] != content or _find_checked_tables(recipe, files) != recipe:
                raise InputError("A source changed while it was read.", "Run again once it is written.")

        def make_tokens(folder: Path) -> None:
            store = CleanRowStore(target.rows, secret)
            encode_rows(recipe, store, target.tokenizer, target.prompt, folder, pool, progress)

        while True:
            find_or_make(target.rows, make_rows)
            with Mark(target.rows) as rows:
                if rows.is_there:
                    return target, find_or_make(target.tokens, make_tokens)


def _find_own(recipe: Recipe, digests: SourceDigests, root: Path, own: _Own) -> _Target | None:
    """Finds a resumed run's own data where only the software has changed; `None` where nothing has.

    Raises:
        InputError: Sources or settings have changed, or its data is no longer in the cache.
    """
    if own.parts is None:
        return None
    rows = describe_rows(recipe, digests.recall() or digests.compute()[0])
    text = own.tokenizer
    if recipe.tokenizer == "train" and own.parts.is_of_trained_tokenizer:
        text = None
    elif text is None:
        text = _read_named_tokenizer(recipe, root)
    prompt = own.prompt or choose_prompt(recipe.prompt_format, recipe.system_prompt, text, recipe.add_tokens)
    differences = own.parts.compare(KeyParts(rows, describe_tokens(recipe, text, prompt)))
    if not differences.pairs:
        return None
    differences.refuse_other_run()
    target = _Target(root, own.parts, text, prompt)
    if not target.tokens.is_dir() or own.tokenizer not in (None, _read_tokenizer(target.tokens)):
        raise differences.explain_missing(root)
    say(f"The run's own data is taken from the cache as it was prepared, although it was with another {differences}.")
    return target


def _locate(recipe: Recipe, content: bytes, root: Path, own: _Own) -> _Target:
    """Names the folders of both levels for sources of this content."""
    rows, text = describe_rows(recipe, content), own.tokenizer
    if recipe.tokenizer == "train":
        prompt = own.prompt or choose_prompt(recipe.prompt_format, recipe.system_prompt, None, recipe.add_tokens)
        target = _Target(root, KeyParts(rows, describe_tokens(recipe, None, prompt)), None, prompt)
        # A checkpoint's tokenizer that was trained on this very data is found there, or trained again.
        if text is None or target.parts == own.parts or _read_tokenizer(target.tokens) == text:
            return target
    elif text is None:
        text = _read_named_tokenizer(recipe, root)
    if missing := find_missing_tokens(text, recipe.add_tokens):
        raise InputError(
            f"--data.add_tokens: the checkpoint's tokenizer has no token {missing[0]!r}.",
            "Give the run's own settings: --config RUN/config.yaml",
        )
    prompt = own.prompt or choose_prompt(recipe.prompt_format, recipe.system_prompt, text, recipe.add_tokens)
    return _Target(root, KeyParts(rows, describe_tokens(recipe, text, prompt)), text, prompt)


def _read_named_tokenizer(recipe: Recipe, root: Path) -> str:
    return add_tokens(read_tokenizer_text(recipe.tokenizer, root), recipe.add_tokens)


def _read_tokenizer(folder: Path) -> str:
    path = folder / TOKENIZER
    with refuse_damaged(folder), suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8")
    return ""
