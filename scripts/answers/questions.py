"""Questions with their references, drawn from a table or from a run's predictions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightning_med.data.sources.bad_rows import BadRows
from lightning_med.data.sources.source import Source
from lightning_med.data.sources.source_reader import read_frames
from lightning_med.tokenization.text_normalization import normalize_whitespace
from lightning_med.utils.errors import InputError


@dataclass(frozen=True)
class Question:
    """A question and the answer that a human gave.

    Attributes:
        row: Of the file, from 0.
    """

    row: int
    question: str
    reference: str


def draw_questions(path: Path, count: int, seed: int, columns: tuple[str, str]) -> list[Question]:
    """Draws questions, in the order of the file.

    Args:
        path: A table, or a run's `predictions.jsonl`, whose columns are known.
        count: How many; 0 for all.
        seed: Decides which.
        columns: Of question and reference in a table.

    Raises:
        InputError: The file cannot be read, or has fewer questions.
    """
    if not path.is_file():
        raise InputError(f"--questions {path} is not a file.", "Name a table, or a run's predictions.jsonl.")
    columns = ("question", "reference") if _has_predictions(path) else columns
    source = Source(str(path), *columns)
    found = [
        Question(int(row), normalize_whitespace(question), str(answer))
        for frame in read_frames(source, path, BadRows())
        for row, question, answer in zip(frame["row"], frame["question"], frame["answer"], strict=True)
        if isinstance(question, str) and isinstance(answer, str) and question.strip() and answer.strip()
    ]
    if len(found) < max(count, 1):
        raise InputError(
            f"{path} has {len(found)} questions with answers, not {count}.", "Give a smaller --count, or 0 for all."
        )
    if not count:
        return found
    return [found[place] for place in sorted(np.random.default_rng(seed).permutation(len(found))[:count])]


def _has_predictions(path: Path) -> bool:
    if path.suffix != ".jsonl":
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline()
    try:
        return {"question", "reference"} <= set(json.loads(line))
    except (ValueError, TypeError):
        return False
