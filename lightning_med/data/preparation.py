"""From a source to tokens on disk: read, clean, split, encode; once, and found again by a fingerprint."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock
from transformers import PreTrainedTokenizerFast

from lightning_med.console import working
from lightning_med.data import sources, store
from lightning_med.data.cleaning import Cleaner
from lightning_med.data.prompts import Prompt
from lightning_med.data.splits import SPLITS, assign, question_key
from lightning_med.data.tokens import (
    ANSWER,
    QUESTION,
    Encoder,
    load_tokenizer,
    restore_tokenizer,
    save_tokenizer,
    train_tokenizer,
)
from lightning_med.errors import InputError
from lightning_med.files import umask

_CODE = ("cleaning", "preparation", "prompts", "sources", "splits", "store", "tokens")
_ENCODED_AT_ONCE = 2_000  # rows between two ticks of the progress bar


@dataclass(frozen=True)
class Recipe:
    """All that shapes the prepared data; the arguments of `DialogueDataModule` of the same names."""

    source: str
    tokenizer: str
    vocab_size: int
    question_column: str
    answer_column: str
    system_prompt: str
    max_length: int
    eval_max_length: int
    test_fraction: float
    val_fraction: float
    seed: int

    def fingerprint(self, content: bytes, tokenizer: PreTrainedTokenizerFast | None) -> str:
        """A digest of the files' content, the tokenizer's rules, these settings and the code that prepares.

        Args:
            content: The files' own digest.
            tokenizer: `None` where it is to be trained: then the data and `vocab_size` decide it.
        """
        digest = sha256(content)
        shaping = {key: value for key, value in asdict(self).items() if key not in ("source", "tokenizer")}
        digest.update(json.dumps(shaping, sort_keys=True).encode())
        rules = tokenizer.backend_tokenizer.to_str() + str(tokenizer.eos_token) if tokenizer else "train"
        digest.update(rules.encode())
        for name in _CODE:
            digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
        return digest.hexdigest()[:24]


@dataclass
class Prepared:
    """A prepared data set on disk.

    Attributes:
        folder: Holds `train/`, `validation/`, `test/`, `tokenizer.txt`, `report.json`.
        fingerprint: Of all that shaped it.
        report: What was read, dropped, mended and kept; see `report.json` in the README.
        tokenizer: The one that encoded it.
        cached: Whether it was found rather than made.
    """

    folder: Path
    fingerprint: str
    report: dict[str, Any]
    tokenizer: PreTrainedTokenizerFast
    cached: bool

    def store(self, split: str) -> store.TokenStore:
        return store.TokenStore(self.folder / split)


def _digest(files: list[Path]) -> bytes:
    """Of the files' names and content. Where they lie does not matter, what they hold does."""
    digest = sha256()
    for file in files:
        digest.update(file.name.encode())
        try:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
    return digest.digest()


def cache_root(cache_dir: str | None) -> Path:
    """Where prepared data lies: `cache_dir`, else `$LIGHTNING_MED_CACHE`, else `~/.cache/lightning_med`."""
    return Path(cache_dir or os.environ.get("LIGHTNING_MED_CACHE") or "~/.cache/lightning_med").expanduser()


def prepare(recipe: Recipe, cache_dir: str | None = None, tokenizer_text: str | None = None) -> Prepared:
    """Finds the prepared data in the cache, or makes it there, whole or not at all.

    Args:
        recipe: What shapes it.
        cache_dir: See `cache_root`.
        tokenizer_text: A checkpoint's own tokenizer, to be used in place of the recipe's.

    Raises:
        InputError: The source, its columns, the tokenizer or a setting is wrong.
    """
    files = sources.resolve(recipe.source)
    content = _digest(files)
    root = cache_root(cache_dir)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not os.access(root, os.W_OK):
            raise PermissionError
    except OSError as error:
        raise InputError(f"The cache {root} cannot be written.", "Name another: --data.cache_dir FOLDER") from error
    tokenizer: PreTrainedTokenizerFast | None
    if tokenizer_text is not None:
        tokenizer = restore_tokenizer(tokenizer_text)
        trained = root / recipe.fingerprint(content, None)
        if recipe.tokenizer == "train" and _tokenizer_of(trained) == tokenizer_text:  # the fit's own data
            return _found(recipe, trained, cached=True)
    else:
        tokenizer = None if recipe.tokenizer == "train" else load_tokenizer(recipe.tokenizer)
    folder = root / recipe.fingerprint(content, tokenizer)
    with FileLock(root / f"{folder.name}.lock"):
        cached = folder.is_dir()
        if not cached:
            _make(recipe, files, tokenizer, folder)
    return _found(recipe, folder, cached)


def _found(recipe: Recipe, folder: Path, cached: bool) -> Prepared:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    report["recipe"] = asdict(recipe)  # equal data may have been prepared from another place
    return Prepared(folder, folder.name, report, restore_tokenizer(_tokenizer_of(folder)), cached)


def _tokenizer_of(folder: Path) -> str:
    path = folder / "tokenizer.txt"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _make(recipe: Recipe, files: list[Path], tokenizer: PreTrainedTokenizerFast | None, folder: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with working("Preparing the consultations") as tell:
            _build(recipe, files, tokenizer, temporary, tell)
        temporary.chmod(0o777 & ~umask())  # made private, as temporary things are; a cache may be shared
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _build(
    recipe: Recipe,
    files: list[Path],
    tokenizer: PreTrainedTokenizerFast | None,
    folder: Path,
    tell: Callable[[str, int, int], None],
) -> None:
    frame, cleaner, rows_in = _read_clean(recipe, files, tell)
    if frame.empty:
        dropped = ", ".join(
            f"{count} {rule}" for rule, count in cleaner.counts.items() if count and rule != "whitespace"
        )
        what = f"no consultation is left of {rows_in} rows ({dropped})" if rows_in else "a header, but no row"
        raise InputError(f"{recipe.source}: {what}.", "Each row needs a question and an answer.")
    questions = frame["question"].tolist()
    sides = assign(questions, recipe.seed, recipe.test_fraction, recipe.val_fraction)
    if tokenizer is None:
        tell("training the tokenizer", 0, 0)
        learned = frame[sides == SPLITS.index("train")]
        tokenizer = train_tokenizer([*learned["question"], *learned["answer"]], recipe.vocab_size)
    tokens: dict[str, Counter[str]] = {}
    done = 0
    for index, split in enumerate(SPLITS):
        part = frame[sides == index]
        length = recipe.max_length if split == "train" else recipe.eval_max_length
        encoder = Encoder(tokenizer, Prompt(recipe.system_prompt), length)
        batches, tokens[split] = [], Counter(total=0, question=0, answer=0, cut=0)
        for start in range(0, len(part), _ENCODED_AT_ONCE):
            piece = part.iloc[start : start + _ENCODED_AT_ONCE]
            encoded = encoder.encode(piece["question"].tolist(), piece["answer"].tolist())
            batches.append(store.record(encoded, {name: piece[name].tolist() for name in piece.columns}))
            for row in encoded:
                question, answer = int((row.parts == QUESTION).sum()), int((row.parts == ANSWER).sum())
                tokens[split].update(total=len(row.parts), question=question, answer=answer, cut=row.cut)
            done += len(piece)
            tell("encoding", done, len(frame))
        store.write(batches, folder / split)
    save_tokenizer(tokenizer, folder)
    report = {
        "rows_in": rows_in,
        "rows_out": len(frame),
        "rules": dict(cleaner.counts),
        "splits": {split: int((sides == index).sum()) for index, split in enumerate(SPLITS)},
        "groups": len({question_key(question) for question in questions}),
        "tokens": {split: dict(counts) for split, counts in tokens.items()},
        "files": [file.name for file in files],
    }
    (folder / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")


def _read_clean(
    recipe: Recipe, files: list[Path], tell: Callable[[str, int, int], None]
) -> tuple[pd.DataFrame, Cleaner, int]:
    cleaner, rows_in, kept = Cleaner(), 0, []
    for frame in sources.read(files, recipe.question_column, recipe.answer_column):
        rows_in += len(frame)
        kept.append(cleaner(frame))
        tell(f"reading, {rows_in:,} rows", 0, 0)
    columns = ["question", "answer", "source", "row"]
    return (pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=columns)), cleaner, rows_in
