"""Keys of prepared data: digests of everything that shapes it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning_med.data.preparation.recipe import Recipe
from lightning_med.tokenization.prompts import Prompt

PACKAGE = Path(__file__).parents[3]
_ROW_SETTINGS = ("rules", "private_data", "near_duplicates", "on_bad_row")
_PROMPT_SETTINGS = ("system_prompt", "prompt_format")  # the prompt that they choose is in the key itself

# The files of this package that decide what a clean row or its group looks like, and those that decide what becomes of
# it afterwards. A test compares them with what preparation imports and opens.
ROW_CODE = (
    "data/sources/bad_rows.py",
    "data/sources/cell_values.py",
    "data/sources/conversations.py",
    "data/sources/csv_reader.py",
    "data/sources/json_reader.py",
    "data/sources/parquet_reader.py",
    "data/sources/source.py",
    "data/sources/source_reader.py",
    "data/sources/table_columns.py",
    "data/sources/table_files.py",
    "data/cleaning/*.py",
    "data/splits/near_duplicates.py",
    "data/splits/row_groups.py",
    "data/splits/shingle_sets.py",
    "data/splits/word_hashes.py",
    "data/preparation/clean_*.py",
    "privacy/*.py",
    "privacy/*.txt",
    "safety/answers/answer_rules.py",  # for the cleaning rule `unsafe_advice`
    "safety/answers/answer_rules.yaml",
    "safety/yaml_files.py",
    "tokenization/text_normalization.py",
)
TOKEN_CODE = (
    "data/splits/group_split.py",
    "data/preparation/split_plan.py",
    "data/preparation/token_*.py",
    "tokenization/*.py",
)
# Libraries of which a new version may make another text, group or token of the same row. ftfy repairs text;
# phonenumbers and python-stdnum recognize private data; pandas and pyarrow read tables, decide what is null and hold
# the Unicode tables by which words are lower-cased and split; tokenizers encodes. NumPy is not among them: its part
# is integer arithmetic. Nor is transformers: what it makes of a tokenizer's files is in the key as text.
ROW_LIBRARIES = ("ftfy", "phonenumbers", "python-stdnum", "pandas", "pyarrow")
TOKEN_LIBRARIES = ("tokenizers",)


def make_rows_key(recipe: Recipe, content: bytes) -> str:
    """Returns the key of clean rows.

    Args:
        recipe: Its tokenizer, lengths, fractions and seed have no effect.
        content: The digest of the sources' content.
    """
    settings = {name: getattr(recipe, name) for name in _ROW_SETTINGS}
    columns = [[source.columns, source.instruction_column] for source in recipe.sources]
    others = [columns, unicodedata.unidata_version]  # Python's own Unicode tables change with its version
    return _make_key(content.hex(), settings, others, ROW_CODE, ROW_LIBRARIES)


def make_tokens_key(recipe: Recipe, rows_key: str, tokenizer: str | None, prompt: Prompt) -> str:
    """Returns the key of tokens, the fingerprint of a run's data.

    Args:
        recipe: Every setting counts, a tokenizer by its rules, a source by its content.
        rows_key: See `make_rows_key`.
        tokenizer: As text; `None` where it is trained: then the rows, `vocab_size` and `add_tokens` decide it.
        prompt: The text around questions and answers.
    """
    settings = recipe.to_dict()
    for name in ("sources", "tokenizer", *_ROW_SETTINGS, *_PROMPT_SETTINGS):
        del settings[name]
    return _make_key(rows_key, settings, [tokenizer or "train", prompt.to_json()], TOKEN_CODE, TOKEN_LIBRARIES)


def _make_key(
    base: str, settings: dict[str, Any], others: list[Any], code: Iterable[str], libraries: Iterable[str]
) -> str:
    digest = sha256(json.dumps([base, settings, others], sort_keys=True).encode())
    digest.update(digest_code(code))
    digest.update(json.dumps([(name, version(name)) for name in libraries]).encode())
    return digest.hexdigest()[:24]


def digest_code(patterns: Iterable[str]) -> bytes:
    """Returns a digest of the package's files that match one of the patterns."""
    digest = sha256()
    for pattern in patterns:
        for file in find_code(pattern):
            digest.update(f"{file.relative_to(PACKAGE).as_posix()}:{file.stat().st_size}:".encode())
            digest.update(file.read_bytes())
    return digest.digest()


def find_code(pattern: str) -> list[Path]:
    """Returns the files of this package that match a pattern, in order.

    Raises:
        FileNotFoundError: There is none.
    """
    files = sorted(PACKAGE.glob(pattern))
    if not files:
        raise FileNotFoundError(f"{PACKAGE / pattern}: no such code")
    return files
