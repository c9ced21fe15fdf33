"""The settings that shape prepared data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lightning_med.data.leaks.checked_tables import CheckedTable
from lightning_med.data.sources.source import Source
from lightning_med.data.splits.own_splits import FileSplits

Files = list[tuple[int, Path]]  # each with the number of its source


@dataclass(frozen=True)
class Recipe:
    """The settings that shape prepared data; see the arguments of `DialogueDataModule` of the same names.

    Attributes:
        rules: Every cleaning rule, and whether it is on.
        file_splits: The owner's own split of each file, in the order in which the files are read; empty where there is
            none to keep. It is filled in when the files are found.
        checked_tables: The files of `check_against`, filled in as well.
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
    prompt_format: Literal["plain", "chat"] | None = None
    add_tokens: tuple[str, ...] = ()
    check_against: tuple[str, ...] = ()
    file_splits: FileSplits = ()
    checked_tables: tuple[CheckedTable, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as plain data, as JSON would hold them."""
        return json.loads(json.dumps(asdict(self)))
