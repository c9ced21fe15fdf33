"""The texts of consultations by which rows are compared with those of other tables, as hashes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lightning_med.data.cleaning.cleaner import repair
from lightning_med.data.splits.row_groups import MIN_ANSWER
from lightning_med.data.splits.shingle_index import make_shingle_sets
from lightning_med.data.splits.shingle_sets import ShingleSets

COLUMNS = ("question", "answer")


@dataclass(frozen=True)
class ComparedTexts:
    """Those texts of a frame's column that are compared.

    Attributes:
        sets: `[texts]`, their shingles.
        places: `[texts]`, int64, the row of the frame that each is in.
    """

    sets: ShingleSets
    places: np.ndarray


def hash_compared_texts(frame: pd.DataFrame) -> list[ComparedTexts]:
    """Hashes the texts of a frame that are compared: the first question of each row, and what has `MIN_ANSWER` words.

    A shorter answer, or a later turn of a patient, may be the same in conversations that have nothing in common.

    Args:
        frame: Has `question` and `answer`, text or null, and `turn` where there are conversations.

    Returns:
        By column of `COLUMNS`.
    """
    first = np.ones(len(frame), bool) if "turn" not in frame else (frame["turn"] == 0).to_numpy(bool)
    compared = []
    for column in COLUMNS:
        texts = [text if isinstance(text, str) else None for text in frame[column]]
        sets, words = make_shingle_sets(texts)
        chosen = words >= MIN_ANSWER
        if column == "question":
            chosen |= first & (words > 0)
        places = np.flatnonzero(chosen)
        selected = sets.select(places)
        compared.append(ComparedTexts(ShingleSets.from_sizes(selected.flatten(), selected.sizes), places))
    return compared


@dataclass(frozen=True)
class TableChunk:
    """A chunk of a table that the data is checked against.

    Attributes:
        rows_in: Rows read.
        rows: `[exchanges]`, int64, the row of the table that each is of.
        compared: See `hash_compared_texts`.
    """

    rows_in: int
    rows: np.ndarray
    compared: list[ComparedTexts]


def hash_table(frame: pd.DataFrame, rules: dict[str, bool], mask: bool) -> TableChunk:
    """Repairs and hashes a frame of `read_checked_table` as the data is, but drops no row of it.

    Args:
        frame: As read.
        rules: Every cleaning rule, and whether it is on.
        mask: Whether private data is replaced.
    """
    rows_in = len(frame) if "turn" not in frame else int((frame["turn"] == 0).sum())
    return TableChunk(rows_in, frame["row"].to_numpy(np.int64), hash_compared_texts(repair(frame, rules, mask)))
