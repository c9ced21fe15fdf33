"""The rows that an evaluation is about: of a table, or of the test split of a run."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lightning_med.checkpoints.run_folder import SETTINGS as CONFIG
from lightning_med.data.module import DialogueDataModule
from lightning_med.utils.errors import InputError

Columns = dict[str, str]  # column options of the data module that were given


@dataclass(frozen=True)
class Rows:
    """Consultations: of a longer conversation the first question and its answer.

    Attributes:
        questions, references, sources, numbers: `[rows]`; the last are the rows' numbers in their files.
        groups: `[rows]`, int64, equal where questions are equal or nearly so.
        split: `test`, or `all` for a table.
        fingerprint: Of the prepared data of a run; empty for a table, where it would depend on the tokenizer.
        left_out: Rows without an answer to compare with.
        dropped: Rows of a table that cleaning drops.
    """

    questions: list[str]
    references: list[str]
    sources: list[str]
    numbers: list[int]
    groups: np.ndarray
    split: str
    fingerprint: str
    left_out: int = 0
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.questions)

    def count_groups(self) -> int:
        """Returns the number of different questions."""
        return len(np.unique(self.groups))

    def compute_digest(self) -> str:
        """Returns the SHA-256 of questions, references and groups, in hexadecimal."""
        content = json.dumps([self.questions, self.references, self.groups.tolist()], ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    def draw(self, count: int | None, seed: int) -> Rows:
        """Returns so many rows, drawn by seed, in their order; all where there are no more."""
        if count is None or count >= len(self):
            return self
        return self.select(np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False)))

    def select(self, places: np.ndarray) -> Rows:
        """Returns some of the rows."""
        lists: dict[str, Any] = {
            name: [getattr(self, name)[place] for place in places]
            for name in ("questions", "references", "sources", "numbers")
        }
        return replace(self, groups=self.groups[places], **lists)

    def describe(self) -> dict[str, Any]:
        """Returns the entry `data` of `metrics.json`."""
        return {
            "files": sorted(set(self.sources)),
            "split": self.split,
            "rows": len(self),
            "groups": self.count_groups(),
            "left_out": self.left_out,
            "dropped": self.dropped,
            "fingerprint": self.fingerprint,
            "content": self.compute_digest(),
            "source_rows": dict(sorted(Counter(self.sources).items())),
        }


def find_run(path: Path) -> Path | None:
    """Returns the config of a run, given its folder or the config itself; `None` if the path is neither."""
    if path.is_dir() and (path / CONFIG).is_file():
        return path / CONFIG
    return path if path.is_file() and path.suffix.lower() in (".yaml", ".yml") else None


def read_run_settings(config: Path) -> dict[str, Any]:
    """Reads the settings of a run.

    Raises:
        InputError: The file is no run's config.
    """
    try:
        settings = yaml.safe_load(config.read_text(encoding="utf-8"))
        if isinstance(settings["data"], dict):
            return dict(settings)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        pass
    raise InputError(
        f"{config} is no run's {CONFIG}: it has no settings of data.", f"A run's folder has one, {CONFIG}."
    )


def open_data(path: str, split: str, tokenizer: str, columns: Columns, option: str) -> tuple[DialogueDataModule, str]:
    """Prepares a table, all of it, or the data of a run.

    Args:
        path: A table, a run's folder or config, or what else `--data.source` takes. `columns` are for tables alone.
        split: `test` or `train`; the one that all rows of a table are in.
        tokenizer: Of a table. It decides nothing but how long the preparation takes.
        columns: Of a table.
        option: That names the path, for messages.

    Returns:
        The data, and the name of what its rows are: the split of a run, or `all`.

    Raises:
        InputError: The path is neither.
    """
    if config := find_run(Path(path)):
        try:
            data, name = DialogueDataModule(**read_run_settings(config)["data"]), split
        except TypeError as error:
            raise InputError(
                f"{config} has settings of data that this version does not know.", "Name a table."
            ) from error
    else:
        if Path(path).is_dir() and not any(child.suffix for child in Path(path).iterdir()):
            raise InputError(f"{option} {path} is neither a table nor the folder of a run.", f"A run has a {CONFIG}.")
        test = float(split == "test")
        source: list[str | dict[str, Any]] = [{"path": path, "split": "mixed"}]  # a file called train is read, too
        options: dict[str, Any] = {"test_fraction": test, "val_fraction": 0.0, **columns}
        data, name = DialogueDataModule(source, tokenizer, **options), "all"
    try:
        data.prepare_data()
    except InputError as error:  # it names the options of `fit`
        what, hint = (
            text.replace("--data.source", option).replace("--data.", "--") for text in (error.what, error.hint)
        )
        raise InputError(f"{option} {path}: {what.removeprefix(f'{path}: ')}", hint) from error
    return data, name


def read_rows(data: DialogueDataModule, split: str, name: str) -> Rows:
    """Returns the rows of a split that have an answer.

    Args:
        data: Prepared.
        split: `train` or `test`.
        name: What the rows are; see `open_data`.
    """
    texts = data.store(split).list_texts()
    kept = [row for row in texts if row["question"] and row["answer"]]
    return Rows(
        [row["question"] for row in kept],
        [row["answer"] for row in kept],
        [row["source"] for row in kept],
        [row["row"] for row in kept],
        np.array([row["group"] for row in kept], np.int64),
        name,
        "" if name == "all" else str(data.prepared.fingerprint),
        len(texts) - len(kept),
        data.prepared.report["rows_in"] - data.prepared.report["rows_out"] if name == "all" else 0,
    )
