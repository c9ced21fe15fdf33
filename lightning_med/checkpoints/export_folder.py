"""The one file of ours in an exported folder: what an answer needs beside model and tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SETTINGS = "lightning_med.json"


def list_exports(runs: Iterable[Path]) -> list[Path]:
    """Returns the exports in the folders of runs, the newest first."""
    files = [file for run in runs for file in run.glob(f"*/{SETTINGS}") if file.is_file()]
    return [file.parent for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)]
