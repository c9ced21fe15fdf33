"""Keys of prepared data: digests of everything that shapes it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning_med.data.preparation.recipe import Recipe

_PACKAGE = Path(__file__).parents[3]
_ROW_SETTINGS = ("rules", "private_data", "near_duplicates", "on_bad_row")
SHAPING_CODE = (
    "data/sources/bad_rows.py",
    "data/sources/conversations.py",
    "data/sources/csv_reader.py",
    "data/sources/json_reader.py",
    "data/sources/parquet_reader.py",
    "data/sources/source.py",
    "data/sources/table_columns.py",
    "data/sources/table_files.py",
    "data/cleaning/*.py",
    "data/splits/*.py",
    "data/preparation/*.py",
    "privacy/*.py",
    "privacy/*.txt",
    "safety/answers/answer_rules.py",
    "safety/answers/answer_rules.yaml",
    "tokenization/*.py",
)
_LIBRARIES = ("ftfy", "phonenumbers", "python-stdnum", "tokenizers")


def make_rows_key(recipe: Recipe, content: bytes) -> str:
    """Returns the key of clean rows.

    Args:
        recipe: Its tokenizer, lengths, fractions and seed have no effect.
        content: The digest of the sources' content.
    """
    settings = {name: getattr(recipe, name) for name in _ROW_SETTINGS}
    columns = [source.columns for source in recipe.sources]
    return _make_key(content.hex(), settings, columns, SHAPING_CODE, _LIBRARIES)


def make_tokens_key(recipe: Recipe, rows_key: str, tokenizer: str | None) -> str:
    """Returns the key of tokens, the fingerprint of a run's data.

    Args:
        recipe: Every setting counts, a tokenizer by its rules and a source by its content.
        rows_key: See `make_rows_key`.
        tokenizer: As text; `None` where it is trained: then the rows and `vocab_size` decide it.
    """
    settings = recipe.to_dict()
    for name in ("sources", "tokenizer", *_ROW_SETTINGS):
        del settings[name]
    return _make_key(rows_key, settings, tokenizer or "train", SHAPING_CODE, _LIBRARIES)


def _make_key(base: str, settings: dict[str, Any], other: Any, code: Iterable[str], libraries: Iterable[str]) -> str:
    digest = sha256(json.dumps([base, settings, other], sort_keys=True).encode())
    digest.update(digest_code(code))
    digest.update(json.dumps([(name, version(name)) for name in libraries]).encode())
    return digest.hexdigest()[:24]


def digest_code(patterns: Iterable[str]) -> bytes:
    """Returns a digest of the package's files that match one of the patterns.

    Raises:
        FileNotFoundError: A pattern matches no file.
    """
    digest = sha256()
    for pattern in patterns:
        files = sorted(_PACKAGE.glob(pattern))
        if not files:
            raise FileNotFoundError(f"{_PACKAGE / pattern}: no such code")
        for file in files:
            digest.update(f"{file.relative_to(_PACKAGE).as_posix()}:{file.stat().st_size}:".encode())
            digest.update(file.read_bytes())
    return digest.digest()
