"""Keys of prepared data: digests of everything that shapes it, whose parts are known by name."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning_med.data.preparation.cache.key_parts import CODE, LIBRARY, TRAINED, UNICODE, Parts
from lightning_med.data.preparation.recipe import Recipe
from lightning_med.data.sources.source_files import name_files
from lightning_med.tokenization.prompts import Prompt

PACKAGE = Path(__file__).parents[3]
_ROW_SETTINGS = ("rules", "private_data", "near_duplicates", "on_bad_row")
_FILE_SETTINGS = ("sources", "check_against", "checked_tables")  # their content is in the keys, not where it lies
_PROMPT_SETTINGS = ("system_prompt", "prompt_format")  # the prompt that they choose is in the key itself

# The files of this package that decide what a clean row or its group looks like, and those that decide what becomes of
# it afterwards. A test compares them with what preparation imports and opens.
ROW_CODE = (
    "data/sources/bad_rows.py",
    "data/sources/cell_values.py",
    "data/sources/column_choice.py",
    "data/sources/conversations.py",
    "data/sources/formats/*.py",
    "data/sources/source.py",
    "data/sources/source_files.py",
    "data/sources/source_reader.py",
    "data/sources/table_columns.py",
    "data/sources/table_files.py",
    "data/sources/table_places.py",
    "data/sources/table_streams.py",
    "data/cleaning/*.py",
    "data/leaks/*.py",
    "data/splits/near_duplicates.py",
    "data/splits/row_groups.py",
    "data/splits/shingle_index.py",
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
# phonenumbers and python-stdnum recognize private data; pandas, pyarrow and python-calamine read tables; the first two
# decide what is null and hold the Unicode tables by which words are lower-cased and split; tokenizers encodes. NumPy is
# not among them: its part is integer arithmetic. Nor is transformers: what it makes of a tokenizer's files is in the
# key as text.
ROW_LIBRARIES = ("ftfy", "phonenumbers", "python-stdnum", "pandas", "pyarrow", "python-calamine")
TOKEN_LIBRARIES = ("tokenizers",)

_SHOWN = 60  # characters of a setting that is kept in the clear; a longer one is kept as its digest


def describe_rows(recipe: Recipe, content: bytes) -> Parts:
    """Returns what shapes clean rows.

    Args:
        recipe: Its tokenizer, lengths, fractions and seed have no effect.
        content: The digest of the sources' content.
    """
    settings = {name: getattr(recipe, name) for name in _ROW_SETTINGS if name != "rules"}
    settings |= {f"rule {name}": on for name, on in recipe.rules.items()}
    columns = [[source.columns, source.instruction_column] for source in recipe.sources]
    names = name_files([Path(table.path) for table in recipe.checked_tables])
    checked = [[name, table.digest] for name, table in zip(names, recipe.checked_tables, strict=True)]
    return {
        "content of the sources": _digest(content),
        **({"check_against": _digest(json.dumps(checked).encode())} if checked else {}),
        **_describe_settings({"columns": columns, **settings}),
        f"{CODE}reads and cleans": digest_code(ROW_CODE),
        UNICODE: unicodedata.unidata_version,  # they change with Python's version
        **{LIBRARY + name: version(name) for name in ROW_LIBRARIES},
    }


def describe_tokens(recipe: Recipe, tokenizer: str | None, prompt: Prompt) -> Parts:
    """Returns what shapes tokens beside what shapes the clean rows.

    Args:
        recipe: Every setting counts, a tokenizer by its rules.
        tokenizer: As text; `None` where it is trained: then the rows, `vocab_size` and `add_tokens` decide it.
        prompt: The text around questions and answers.
    """
    settings = recipe.to_dict()
    for name in ("tokenizer", *_FILE_SETTINGS, *_ROW_SETTINGS, *_PROMPT_SETTINGS):
        del settings[name]
    return {
        "tokenizer": TRAINED if tokenizer is None else _digest(tokenizer.encode()),
        "system prompt and format": _digest(prompt.to_json().encode()),
        **_describe_settings(settings),
        f"{CODE}splits and encodes": digest_code(TOKEN_CODE),
        **{LIBRARY + name: version(name) for name in TOKEN_LIBRARIES},
    }


def _describe_settings(settings: dict[str, Any]) -> Parts:
    texts = {name: json.dumps(value, sort_keys=True) for name, value in settings.items()}
    return {name: text if len(text) < _SHOWN else _digest(text.encode()) for name, text in texts.items()}


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def digest_code(patterns: Iterable[str]) -> str:
    """Returns a digest of the package's files that match one of the patterns; ends of lines do not count."""
    digest = sha256()
    for pattern in patterns:
        for file in find_code(pattern):
            content = file.read_bytes().replace(b"\r\n", b"\n")  # as Git on Windows may write them
            digest.update(f"{file.relative_to(PACKAGE).as_posix()}:{len(content)}:".encode())
            digest.update(content)
    return digest.hexdigest()


def find_code(pattern: str) -> list[Path]:
    """Returns the files of this package that match a pattern, in order.

    What editors, file managers and synchronization leave there (`.#x.py`, `._x.py`, `x (copy).py`) can be no module and
    is left out.

    Raises:
        FileNotFoundError: There is none.
    """
    files = sorted(file for file in PACKAGE.glob(pattern) if file.stem.isidentifier())
    if not files:
        raise FileNotFoundError(f"{PACKAGE / pattern}: no such code")
    return files
