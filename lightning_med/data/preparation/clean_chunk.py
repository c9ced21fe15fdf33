"""A chunk of rows on its way from text as read to clean text, and what the split needs to know of each.

Runs in a process of its own where there is much to do: it imports no torch, and what it gives back is small.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lightning_med.data.cleaning.cleaner import Example, clean
from lightning_med.data.splits import near_duplicates as near

TEXTS = pa.schema({"question": pa.large_string(), "answer": pa.large_string()})
MIN_ANSWER = 31  # words of an answer that two different questions do not share by chance
_OPENING = 5  # words
_SIGNS = bytes(code for code in range(128) if not chr(code).isalnum())


@dataclass(frozen=True)
class Steps:
    """What is done to every chunk: the cleaning rules, private data, near-duplicates."""

    rules: dict[str, bool]
    mask: bool
    near: bool


@dataclass
class Chunk:
    """A chunk's conversations; a plain row is a conversation of one exchange.

    Attributes:
        texts: One row an exchange, in `TEXTS`.
        turns: `[conversations]`, int32, their exchanges.
        rows: `[conversations]`, int64, their row in the source.
        digests: `[conversations, 2]`, uint64, of all their text.
        questions: `[conversations]`, uint64, what spellings of one question share.
        origins: `[conversations]`, uint64, of the question as it was read: no cleaning setting changes it.
        patients: `[conversations]`, uint64, of the group column; 0 where it is empty or there is none.
        answers: `[conversations]`, uint64, of an answer long enough to betray a common origin, else 0; all 0 where no
            near-duplicates are looked for.
        shingles: Their sets' hashes end to end, and sizes; see `near_duplicates.Words`.
        rows_in: Rows read.
    """

    texts: pa.RecordBatch
    turns: np.ndarray
    rows: np.ndarray
    digests: np.ndarray
    questions: np.ndarray
    origins: np.ndarray
    patients: np.ndarray
    answers: np.ndarray
    shingles: tuple[np.ndarray, np.ndarray]
    rows_in: int
    counts: Counter[str]
    private: Counter[str]
    examples: dict[str, list[Example]]
    shortened: int
    openings: Counter[str]


def clean_chunk(frame: pd.DataFrame, steps: Steps) -> Chunk:
    """Cleans a frame of `sources.read` and describes what is left.

    Args:
        frame: At most `near_duplicates.MOST_ROWS` conversations.
        steps: What to do.
    """
    rows_in = len(frame) if "turn" not in frame else int((frame["turn"] == 0).sum())
    if "turn" in frame:
        frame = frame.assign(turns=frame.groupby("row")["turn"].transform("size"))
    done = clean(frame.assign(origin=_hash_origins(frame["question"])), steps.rules, steps.mask)
    frame = done.frame
    texts = pa.RecordBatch.from_arrays([pa.array(frame[name], pa.large_string()) for name in TEXTS.names], schema=TEXTS)
    whole = frame if "turn" not in frame else _join_turns(frame)
    questions = (whole["first"] if "first" in whole else whole["question"]).tolist()
    asked = near.WordHashes.of(pa.array(questions, pa.large_string()))
    answers = whole["replied"] if "replied" in whole else whole["answer"]
    long = np.zeros(len(whole), np.uint64)
    if steps.near:
        replied = near.WordHashes.of(pa.array(answers, pa.large_string()))
        long = np.where(replied.lengths >= MIN_ANSWER, replied.keys(), np.uint64(0))
    return Chunk(
        texts,
        whole["turns"].to_numpy(np.int32) if "turns" in whole else np.ones(len(whole), np.int32),
        whole["row"].to_numpy(np.int64),
        np.array(
            [_compute_digest(f"{len(q)}:{q}{a}", 16) for q, a in zip(whole["question"], whole["answer"], strict=True)],
            np.uint64,
        ).reshape(-1, 2),
        asked.keys(),
        whole["origin"].to_numpy(np.uint64),
        _hash_texts(whole["group"].tolist()) if "group" in whole else np.zeros(len(whole), np.uint64),
        long,
        asked.shingles() if steps.near else (np.empty(0, np.uint64), np.zeros(len(whole), np.int64)),
        rows_in,
        done.counts,
        done.private,
        done.examples,
        done.shortened,
        Counter(" ".join(answer.split(None, _OPENING)[:_OPENING])[:80] for answer in answers),
    )


def _join_turns(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a conversation: its first question and the reply to it, by which it is grouped, and all its turns."""
    frame = frame.assign(turns=1, first=frame["question"], replied=frame["answer"])
    frame = frame.assign(question=[f"{len(text)}:{text}" for text in frame["question"]])
    columns: dict[str, Any] = {
        "question": "\n".join,
        "answer": "\n".join,
        "turns": "sum",
        "first": "first",
        "replied": "first",
        "origin": "first",
        **({"group": "first"} if "group" in frame else {}),
    }
    return frame.groupby("row", sort=False).agg(columns).reset_index()


def _hash_origins(questions: pd.Series) -> np.ndarray:
    """`[rows]`, uint64, of the questions as they stand in the source, case and ASCII's spaces and signs left out."""
    bare = (text.lower().encode("utf-8", "surrogatepass").translate(None, _SIGNS) for text in questions.fillna(""))
    digests = (blake2b(text, digest_size=8).digest() for text in bare)
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)


def _compute_digest(text: str, size: int) -> list[int]:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
    return [int.from_bytes(digest[i : i + 8], "little") for i in range(0, size, 8)]


def _hash_texts(texts: list[Any]) -> np.ndarray:
    """`[texts]`, uint64; 0 for what is none: null, or the NaN that pandas makes of it."""
    found = [(_compute_digest(text, 8)[0] or 1) if isinstance(text, str) else 0 for text in texts]
    return np.array(found, dtype=np.uint64)
