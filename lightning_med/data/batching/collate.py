"""Rows of tokens put together as a batch, flat or padded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.tokenization.encoder import ANSWER, QUESTION

Batch = dict[str, Any]


def collate_flat(store: TokenStore, rows: np.ndarray) -> Batch:
    """Consultations end to end in one row, without padding.

    Returns:
        `input_ids`, `position_ids`: `[1, tokens]`, int64; positions restart with each consultation.
        `boundaries`: tokens before each consultation and after the last, a list of `rows + 1` numbers.
        `offsets`: the same as a tensor, int32.
        With the entries of `_targets`, places counted in the flat row.
    """
    ids = [store.input_ids(row) for row in rows]
    boundaries = np.concatenate([[0], np.cumsum([len(i) for i in ids])])
    positions = np.concatenate([np.arange(len(i)) for i in ids])
    return {
        "input_ids": torch.from_numpy(np.concatenate(ids).astype(np.int64))[None],
        "position_ids": torch.from_numpy(positions)[None],
        "boundaries": boundaries.tolist(),
        "offsets": torch.from_numpy(boundaries.astype(np.int32)),
        **_collect_targets(store, rows, ids, boundaries[:-1]),
    }


def collate_padded(store: TokenStore, rows: np.ndarray, length: int, pad_id: int) -> Batch:
    """Consultations in rows of a common length, as the usual recipes have them; the loss is that of `flat`.

    Returns:
        `input_ids`, `attention_mask`: `[rows, length]`, int64.
        With the entries of `_targets`, places counted in the rows laid end to end.
    """
    ids = [store.input_ids(row) for row in rows]
    input_ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.int64)
    for line, content in enumerate(ids):
        input_ids[line, : len(content)] = content
        mask[line, : len(content)] = 1
    return {
        "input_ids": torch.from_numpy(input_ids),
        "attention_mask": torch.from_numpy(mask),
        **_collect_targets(store, rows, ids, np.arange(len(rows)) * length),
    }


def make_idle(batch: Batch) -> Batch:
    """A batch from which nothing is learned and which counts nowhere: for a rank that has no row left in a step.

    It goes through the network all the same: the other ranks wait for its gradients, which are zero.
    """
    none = {name: batch[name][:0] for name in ("predict_at", "targets", "rows")}
    return {**batch, **none, "answers": 0, "answer_bytes": 0}


def _collect_targets(store: TokenStore, rows: np.ndarray, ids: list[np.ndarray], starts: np.ndarray) -> Batch:
    """What is to be predicted, and from where: the answers' tokens first, then the questions'.

    Returns:
        `predict_at`: `[targets]`, the places whose hidden state predicts; one before the token itself.
        `targets`: `[targets]`, int64 ids.
        `answers`: how many of them belong to answers.
        `answer_bytes`: UTF-8 bytes of the answers.
        `rows`: the rows' numbers in the store.
    """
    places: dict[int, list[np.ndarray]] = {ANSWER: [], QUESTION: []}
    targets: dict[int, list[np.ndarray]] = {ANSWER: [], QUESTION: []}
    for row, content, start in zip(rows, ids, starts, strict=True):
        parts = store.parts(row)
        for part in (ANSWER, QUESTION):
            found = np.flatnonzero(parts[1:] == part)
            places[part].append(found + start)
            targets[part].append(content[found + 1])
    order = places[ANSWER] + places[QUESTION], targets[ANSWER] + targets[QUESTION]
    return {
        "predict_at": torch.from_numpy(np.concatenate(order[0])),
        "targets": torch.from_numpy(np.concatenate(order[1]).astype(np.int64)),
        "answers": sum(map(len, places[ANSWER])),
        "answer_bytes": int(store.answer_bytes[rows].sum()),
        "rows": rows.tolist(),
    }
