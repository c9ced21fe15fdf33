"""Encodes a batch of clean conversations as arrays of tokens, in worker processes where there is much to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import StoredTokenizer
from lightning_med.utils.memory.allocator import release_freed_memory

# Texts, one row an exchange; number of exchanges and side of each conversation.
Task = tuple[pa.RecordBatch, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Coding:
    """How text becomes tokens.

    Attributes:
        tokenizer: As text; see `store_tokenizer`.
        vocabulary: Every id is below it.
        prompt: The text around questions and answers.
        lengths: By split, the maximal number of tokens of a conversation.
    """

    tokenizer: str
    vocabulary: int
    prompt: Prompt
    lengths: tuple[int, ...]


@dataclass
class Shard:
    """The conversations of one split in a batch.

    Attributes:
        input_ids: All ids end to end, uint16 or int32.
        lengths: `[conversations]`, int64, number of ids.
        runs: The lengths of all stretches end to end, int32; see `encoder.CYCLE`.
        stretches: `[conversations]`, int64, number of stretches.
        answer_bytes: `[conversations]`, int32, UTF-8 bytes of the answers that are learned.
        whole: `[conversations, 3]`, int32, tokens of questions, of such answers and of all before anything was cut.
        cut: Conversations that lost tokens.
        uses: `[vocabulary]`, int64, occurrences of each id in questions and answers.
    """

    input_ids: np.ndarray
    lengths: np.ndarray
    runs: np.ndarray
    stretches: np.ndarray
    answer_bytes: np.ndarray
    whole: np.ndarray
    cut: int
    uses: np.ndarray


def encode_batch(task: Task, coding: Coding) -> list[Shard]:
    """Encodes a batch into one shard a split; conversations that belong to no split are left out."""
    texts, turns, sides = task
    owner = np.repeat(sides, turns)
    shards = []
    for side, encoder in enumerate(_make_encoders(coding)):
        part = texts.filter(pa.array(owner == side))
        shards.append(_make_shard(encoder, coding.vocabulary, part, turns[sides == side]))
    return shards


def _make_shard(encoder: Encoder, vocabulary: int, texts: pa.RecordBatch, turns: np.ndarray) -> Shard:
    questions, answers, learned = (texts.column(name).to_pylist() for name in ("question", "answer", "learned"))
    rows = encoder.encode(questions, answers, None if (turns == 1).all() else turns.tolist(), learned)
    dtype = np.uint16 if vocabulary <= 1 << 16 else np.int32
    ids = np.concatenate([row.input_ids for row in rows] or [np.empty(0, dtype)]).astype(dtype)
    runs = np.array([run for row in rows for run in row.runs], dtype=np.int32)
    part = np.array([place % 4 for row in rows for place in range(len(row.runs))])
    of_text = np.repeat(part % 2 == 1, runs) if len(runs) else np.empty(0, bool)  # of a question or an answer
    return Shard(
        input_ids=ids,
        lengths=np.array([len(row.input_ids) for row in rows], dtype=np.int64),
        runs=runs,
        stretches=np.array([len(row.runs) for row in rows], dtype=np.int64),
        answer_bytes=np.array([row.answer_bytes for row in rows], dtype=np.int32),
        whole=np.array([row.uncut_counts for row in rows], dtype=np.int32).reshape(-1, 3),
        cut=sum(row.cut for row in rows),
        uses=np.bincount(ids[of_text], minlength=vocabulary),
    )


@lru_cache(maxsize=1)
def _make_encoders(coding: Coding) -> list[Encoder]:
    """One encoder a split, kept from batch to batch."""
    first = Encoder(StoredTokenizer(coding.tokenizer), coding.prompt, coding.lengths[0])
    release_freed_memory()  # the tokenizer as text takes several times the memory of what is made of it
    return [first, *(first.with_max_length(length) for length in coding.lengths[1:])]
