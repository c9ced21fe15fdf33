"""Cleans a chunk of rows and describes what deduplication and the split need to know of each.

Runs in worker processes where there is much to do: it imports no torch, and its result is small.
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
from lightning_med.data.leaks.compared_texts import ComparedTexts, hash_compared_texts
from lightning_med.data.splits.row_groups import MIN_ANSWER
from lightning_med.data.splits.word_hashes import WordHashes

TEXTS = pa.schema({"question": pa.large_string(), "answer": pa.large_string(), "learned": pa.bool_()})
_OPENING = 5  # words
_SIGNS = bytes(code for code in range(128) if not chr(code).isalnum())


@dataclass(frozen=True)
class Steps:
    """What is done to every chunk.

    Attributes:
        rules: Every cleaning rule, and whether it is on.
        mask: Replace private data.
        near: Hash what the search for near-duplicates needs.
        compare: Hash what is compared with other tables.
    """

    rules: dict[str, bool]
    mask: bool
    near: bool
    compare: bool = False


@dataclass
class Chunk:
    """A chunk's conversations; a plain row is a conversation of one exchange.

    Attributes:
        texts: One row an exchange, in `TEXTS`; `learned` is whether its answer is to be learned.
        turns: `[conversations]`, int32, number of exchanges.
        rows: `[conversations]`, int64, row in the source.
        digests: `[conversations, 2]`, uint64, hash of the complete text.
        questions: `[conversations]`, uint64, hash that all spellings of one question share.
        origins: `[conversations]`, uint64, hash of the question as it was read: no cleaning setting changes it.
        patients: `[conversations]`, uint64, hash of the group column; 0 where it is empty or there is none.
        answers: `[conversations]`, uint64, hash of an answer too long to be repeated by chance, else 0; all 0 where no
            near-duplicates are looked for.
        shingles: The hashes of all questions' shingle sets end to end, and the sets' sizes; see `WordHashes`.
        compared: See `hash_compared_texts`; empty where there is nothing to compare with.
        rows_in: Rows read.
        counts, private, examples, shortened: See `Cleaned`.
        openings: First words of the answers, counted.
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
    compared: list[ComparedTexts]
    rows_in: int
    counts: Counter[str]
    private: Counter[str]
    examples: dict[str, list[Example]]
    shortened: int
    openings: Counter[str]


def clean_chunk(frame: pd.DataFrame, steps: Steps) -> Chunk:
    """Cleans a frame of `read_frames` and describes the conversations that are left.

    Args:
        frame: At most `word_hashes.MAX_TEXTS` conversations.
        steps: What to do.
    """
    rows_in = len(frame) if "turn" not in frame else int((frame["turn"] == 0).sum())
    if "turn" in frame:
        frame = frame.assign(turns=frame.groupby("row")["turn"].transform("size"))
    cleaned = clean(frame.assign(origin=_hash_origins(frame["question"])), steps.rules, steps.mask)
    frame = cleaned.frame if "learned" in cleaned.frame else cleaned.frame.assign(learned=True)
    texts = pa.RecordBatch.from_arrays([pa.array(frame[field.name], field.type) for field in TEXTS], schema=TEXTS)
    whole = frame if "turn" not in frame else _join_turns(frame)
    first_questions = (whole["first_question"] if "turn" in frame else whole["question"]).tolist()
    first_answers = (whole["first_answer"] if "turn" in frame else whole["answer"]).tolist()
    asked = WordHashes.from_texts(pa.array(first_questions, pa.large_string()))
    return Chunk(
        texts=texts,
        turns=whole["turns"].to_numpy(np.int32) if "turns" in whole else np.ones(len(whole), np.int32),
        rows=whole["row"].to_numpy(np.int64),
        digests=_hash_conversations(whole),
        questions=asked.compute_keys(),
        origins=whole["origin"].to_numpy(np.uint64),
        patients=_hash_texts(whole["group"].tolist()) if "group" in whole else np.zeros(len(whole), np.uint64),
        answers=_hash_long_answers(first_answers) if steps.near else np.zeros(len(whole), np.uint64),
        shingles=asked.hash_shingles() if steps.near else (np.empty(0, np.uint64), np.zeros(len(whole), np.int64)),
        compared=hash_compared_texts(frame) if steps.compare else [],
        rows_in=rows_in,
        counts=cleaned.counts,
        private=cleaned.private,
        examples=cleaned.examples,
        shortened=cleaned.shortened,
        openings=Counter(
            " ".join(answer.split(None, _OPENING)[:_OPENING])[:80]
            for answer, learned in zip(first_answers, whole["learned"], strict=True)
            if learned
        ),
    )


def _join_turns(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a conversation: its first exchange, by which it is grouped, and the text and marks of all its turns."""
    frame = frame.assign(turns=1, first_question=frame["question"], first_answer=frame["answer"])
    marks = ("" if learned else "-" for learned in frame["learned"])
    frame = frame.assign(
        question=[f"{len(text)}{mark}:{text}" for text, mark in zip(frame["question"], marks, strict=True)]
    )
    columns: dict[str, Any] = {
        "question": "\n".join,
        "answer": "\n".join,
        "turns": "sum",
        "first_question": "first",
        "first_answer": "first",
        "origin": "first",
        "learned": "first",
        **({"group": "first"} if "group" in frame else {}),
    }
    return frame.groupby("row", sort=False).agg(columns).reset_index()


def _hash_conversations(frame: pd.DataFrame) -> np.ndarray:
    """`[conversations, 2]`, uint64."""
    pairs = zip(frame["question"], frame["answer"], strict=True)
    hashes = [_compute_hash(f"{len(question)}:{question}{answer}", 16) for question, answer in pairs]
    return np.array(hashes, np.uint64).reshape(-1, 2)


def _hash_long_answers(answers: list[str]) -> np.ndarray:
    """`[answers]`, uint64, 0 for an answer under `MIN_ANSWER` words."""
    words = WordHashes.from_texts(pa.array(answers, pa.large_string()))
    return np.where(words.lengths >= MIN_ANSWER, words.compute_keys(), np.uint64(0))


def _hash_origins(questions: pd.Series) -> np.ndarray:
    """`[rows]`, uint64, of the questions as they were read, without case and ASCII spaces and punctuation."""
    bare = (text.lower().encode("utf-8", "surrogatepass").translate(None, _SIGNS) for text in questions.fillna(""))
    digests = (blake2b(text, digest_size=8).digest() for text in bare)
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)


def _hash_texts(texts: list[Any]) -> np.ndarray:
    """`[texts]`, uint64; 0 for null, or for the NaN that pandas makes of it."""
    hashes = [(_compute_hash(text, 8)[0] or 1) if isinstance(text, str) else 0 for text in texts]
    return np.array(hashes, dtype=np.uint64)


def _compute_hash(text: str, size: int) -> list[int]:
    """A hash of `size` bytes, as integers of 64 bits."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
    return [int.from_bytes(digest[i : i + 8], "little") for i in range(0, size, 8)]
