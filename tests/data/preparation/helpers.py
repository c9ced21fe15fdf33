"""What the tests of preparation share."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.cache import cache_folder
from lightning_med.data.preparation.pipeline import CLEAN_ROWS, Prepared
from lightning_med.data.preparation.recipe import Recipe
from lightning_med.data.splits.group_split import SPLITS


def recipe(source: Path | str, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {"tokenizer": "train", "vocab_size": 400, "max_length": 128, "eval_max_length": 256}
    settings["system_prompt"] = "Be kind."
    return DialogueDataModule(str(source), **{**settings, **changes}).recipe


def everything(prepared: Prepared) -> dict[str, Any]:
    return {
        split: [
            (store.texts(row), store.input_ids(row).tolist(), store.parts(row).tolist(), int(store.answer_bytes[row]))
            for row in range(len(store))
        ]
        for split in SPLITS
        for store in [prepared.store(split)]
    }


def write(path: Path, rows: list[tuple[str, ...]], names: tuple[str, ...] = ("input", "output")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def tables_of(folder: Path) -> dict[str, bytes]:
    """The files that training reads, byte for byte."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".arrow", ".parquet", ".txt")}


def left_in(cache: Path) -> list[str]:
    """Folders of tokens, complete or not."""
    return list_folders(cache, {CLEAN_ROWS, cache_folder.DIGESTS})


def rows_left_in(cache: Path) -> list[str]:
    """Folders of clean rows, complete or not."""
    return list_folders(cache / CLEAN_ROWS, set()) if (cache / CLEAN_ROWS).is_dir() else []


def list_folders(folder: Path, others: set[str]) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock" and path.name not in others)
