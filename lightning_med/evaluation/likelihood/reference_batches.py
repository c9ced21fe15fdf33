"""Consultations encoded for one model, in flat batches that depend on nothing but the rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lightning_med.data.batching.collate import lay_flat
from lightning_med.tokenization.consultation import EncodedConsultation
from lightning_med.tokenization.encoder import Encoder

BATCH_TOKENS = 2048
CHUNK = 512  # rows that are encoded and sorted by length at once


@dataclass(frozen=True)
class ReferenceBatch:
    """A flat batch, all of whose tokens but each row's first are predicted; see `lightning_med.data.batching.collate`.

    Attributes:
        rows: Numbers of the rows, in the order of the batch.
        encoded: Of these rows.
        inputs: `input_ids`, `position_ids`, `boundaries`, `offsets`, `predict_at` and `targets`.
    """

    rows: list[int]
    encoded: list[EncodedConsultation]
    inputs: dict[str, Any]


def make_reference_batches(
    encoder: Encoder, questions: Sequence[str], answers: Sequence[str], done: Collection[int] = ()
) -> Iterator[ReferenceBatch]:
    """Encodes consultations and yields them in batches of similar length.

    Args:
        encoder: Its maximal length cuts longer rows.
        questions, answers: `[rows]`.
        done: Rows that are not needed. A batch is left out if all its rows are; so the others are as without it.
    """
    for start in range(0, len(questions), CHUNK):
        if all(row in done for row in range(start, min(start + CHUNK, len(questions)))):
            continue
        chunk = slice(start, start + CHUNK)
        encoded = encoder.encode(list(questions[chunk]), list(answers[chunk]))
        for places in _plan([len(row.input_ids) for row in encoded]):
            if not all(start + place in done for place in places):
                rows = [encoded[place] for place in places]
                yield ReferenceBatch([start + place for place in places], rows, _collate(rows))


def _plan(lengths: list[int]) -> list[list[int]]:
    """Cuts rows, sorted by length, into batches of `BATCH_TOKENS` at most; a longer row is a batch of its own."""
    batches: list[list[int]] = []
    tokens = 0
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if not batches or tokens + lengths[place] > BATCH_TOKENS:
            batches.append([])
            tokens = 0
        batches[-1].append(place)
        tokens += lengths[place]
    return batches


def _collate(rows: list[EncodedConsultation]) -> dict[str, Any]:
    batch = lay_flat([row.input_ids for row in rows])
    (flat,) = batch["input_ids"]
    predicted = torch.from_numpy(np.delete(np.arange(len(flat)), batch["boundaries"][:-1]))
    return {**batch, "predict_at": predicted - 1, "targets": flat[predicted]}
