"""All that shapes prepared data, and its fingerprint."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from lightning_med.data.sources.source import Source
from lightning_med.utils.errors import InputError

Files = list[tuple[int, Path]]  # each with the number of its source


@dataclass(frozen=True)
class Recipe:
    """All that shapes the prepared data; the arguments of `DialogueDataModule` of the same names.

    Attributes:
        rules: Every cleaning rule, and whether it is on.
    """

    sources: tuple[Source, ...]
    tokenizer: str
    vocab_size: int
    system_prompt: str
    max_length: int
    eval_max_length: int
    test_fraction: float
    val_fraction: float
    rules: dict[str, bool]
    private_data: bool
    near_duplicates: bool
    on_bad_row: Literal["error", "drop"]
    seed: int

    def fingerprint(self, content: bytes, tokenizer: str | None) -> str:
        """A digest of the files' content, the tokenizer's rules, these settings and the code that prepares.

        Args:
            content: The files' own digest.
            tokenizer: As text; `None` where it is to be trained: then the data and `vocab_size` decide it.
        """
        digest = sha256(content)
        shaping = {key: value for key, value in asdict(self).items() if key not in ("sources", "tokenizer")}
        shaping["columns"] = [source.columns for source in self.sources]
        digest.update(json.dumps(shaping, sort_keys=True).encode())
        digest.update((tokenizer or "train").encode())
        digest.update(digest_code())
        digest.update(repr([(name, version(name)) for name in _LIBRARIES]).encode())
        return digest.hexdigest()[:24]

    def described(self) -> dict[str, Any]:
        """The settings as plain data."""
        return json.loads(json.dumps(asdict(self)))


def digest_content(files: Files) -> bytes:
    """Of the files' names, sources and content. Where they lie does not matter, what they hold does."""
    digest = sha256()
    for number, file in files:
        try:
            digest.update(f"{number}:{len(file.name)}:{file.name}:{file.stat().st_size}:".encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
    return digest.digest()


def digest_code() -> bytes:
    """Of all that turns rows into tokens: a change there must not meet data that older code prepared."""
    digest = sha256()
    for pattern in SHAPING_CODE:
        files = sorted(_PACKAGE.glob(pattern))
        if not files:
            raise FileNotFoundError(f"{_PACKAGE / pattern}: no such code")
        for file in files:
            digest.update(f"{file.relative_to(_PACKAGE).as_posix()}:{file.stat().st_size}:".encode())
            digest.update(file.read_bytes())
    return digest.digest()


_PACKAGE = Path(__file__).parents[2]
# Every file that decides what a prepared row looks like, and no other: a change to one of them makes prepared data
# stale. A test compares the list with what preparation imports.
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
_LIBRARIES = ("ftfy", "phonenumbers", "python-stdnum", "tokenizers")  # these mend, find and encode
