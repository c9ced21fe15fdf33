"""A batch of clean conversations as arrays of tokens, made in a process of its own where there is much to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import Prompt
from lightning_med.tokenization.tokenizer import StoredTokenizer
from lightning_med.utils.allocator import release_freed_memory


@dataclass(frozen=True)
class Coding:
    """How text becomes tokens.

    Attributes:
        tokenizer: As text; see `tokenizer.store_tokenizer`.
        vocabulary: Every id is below it.
        system_prompt: What stands before every conversation.
        lengths: By split, the tokens that a conversation may have.
    """

    tokenizer: str
    vocabulary: int
    system_prompt: str
    lengths: tuple[int, ...]


@dataclass
class Shard:
    """The conversations of one split in a batch.

    Attributes:
        input_ids: All ids end to end, uint16 or int32.
        lengths: `[conversations]`, ids of each.
        runs: All stretches' lengths end to end, int32; see `encoder.CYCLE`.
        stretches: `[conversations]`, stretches of each.
        answer_bytes: `[conversations]`, int32.
        whole: `[conversations, 3]`, int32, tokens of questions, answers and all before anything was cut.
        cut: Conversations that lost tokens.
        uses: `[vocabulary]`, int64, how often each id stands in a question or an answer.
    """

    input_ids: np.ndarray
    lengths: np.ndarray
    runs: np.ndarray
    stretches: np.ndarray
    answer_bytes: np.ndarray
    whole: np.ndarray
    cut: int
    uses: np.ndarray


Task = tuple[
    pa.RecordBatch, np.ndarray, np.ndarray
]  # texts, one row an exchange; exchanges and side of each conversation


def encode_batch(task: Task, coding: Coding) -> list[Shard]:
    """Encodes a batch; one shard a split, those that belong to none left out."""
    texts, turns, sides = task
    encoders = _make_encoders(coding)
    owner = np.repeat(sides, turns)
    shards = []
    for side, encoder in enumerate(encoders):
        part = texts.filter(pa.array(owner == side))
        questions, answers = (part.column(name).to_pylist() for name in ("question", "answer"))
        shards.append(_make_shard(encoder, coding.vocabulary, questions, answers, turns[sides == side]))
    return shards


def _make_shard(
    encoder: Encoder, vocabulary: int, questions: list[str], answers: list[str], turns: np.ndarray
) -> Shard:
    rows = encoder.encode(questions, answers, None if (turns == 1).all() else turns.tolist())
    kind = np.uint16 if vocabulary <= 1 << 16 else np.int32
    ids = np.concatenate([row.input_ids for row in rows] or [np.empty(0, kind)]).astype(kind)
    runs = np.array([run for row in rows for run in row.runs], dtype=np.int32)
    part = np.array([place % 4 for row in rows for place in range(len(row.runs))])
    said = np.repeat(part % 2 == 1, runs) if len(runs) else np.empty(0, bool)
    return Shard(
        ids,
        np.array([len(row.input_ids) for row in rows], dtype=np.int64),
        runs,
        np.array([len(row.runs) for row in rows], dtype=np.int64),
        np.array([row.answer_bytes for row in rows], dtype=np.int32),
        np.array([row.uncut_counts for row in rows], dtype=np.int32).reshape(-1, 3),
        sum(row.cut for row in rows),
        np.bincount(ids[said], minlength=vocabulary),
    )


@lru_cache(maxsize=1)
def _make_encoders(coding: Coding) -> list[Encoder]:
    """One a split, kept from batch to batch."""
    first = Encoder(StoredTokenizer(coding.tokenizer), Prompt(coding.system_prompt), coding.lengths[0])
    release_freed_memory()  # of the rules as text, several times what is made of them
    return [first, *(first.with_max_length(length) for length in coding.lengths[1:])]
