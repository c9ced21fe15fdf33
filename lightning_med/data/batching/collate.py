"""Rows of tokens put together as a batch, flat or padded.

A flat batch holds consultations end to end, without padding. Two of them, with a prompt of 2 tokens (p), questions of 2
and 1 (q), the answer's prefix "Doctor:" (h), answers of 2 and 1 (a), each with its end token (e):

    input_ids     p  p  q  q  h  a  a  e | p  p  q  h  a  e      [1, 14]
    position_ids  0  1  2  3  4  5  6  7 | 0  1  2  3  4  5      [1, 14], restart with each consultation
    boundaries    0                        8                14   attention never crosses one
    predict_at                4  5  6               11 12        states that predict an answer's token ...
    targets                   a  a  e               a  e         ... and the tokens they predict

The loss reads the hidden states at `predict_at` and no others. After the answers' entries, `predict_at` and `targets`
continue with those of the questions (here at 1, 2 and 9), which are used where `question_weight` is above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lightning_med.data.preparation.token_store import TokenStore
from lightning_med.tokenization.consultation import ANSWER, QUESTION

Batch = dict[str, Any]


def collate_flat(store: TokenStore, rows: np.ndarray) -> Batch:
    """Puts consultations end to end, without padding; see the module's drawing.

    Args:
        store: The tokens of a split.
        rows: `[rows]`, row numbers.

    Returns:
        `input_ids`, `position_ids`: `[1, tokens]`, int64.
        `boundaries`: Tokens before each consultation and after the last, a list of `rows + 1` numbers.
        `offsets`: `[rows + 1]`, int32, the same as a tensor.
        And the entries of `_collect_targets`, with positions in the flat row.
    """
    ids = [store.input_ids(row) for row in rows]
    batch = lay_flat(ids)
    return {**batch, **_collect_targets(store, rows, ids, np.array(batch["boundaries"][:-1]))}


def lay_flat(ids: Sequence[np.ndarray]) -> Batch:
    """Lays rows of tokens end to end; see the first four entries of `collate_flat`."""
    boundaries = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
    positions = np.concatenate([np.arange(len(row)) for row in ids])
    return {
        "input_ids": torch.from_numpy(np.concatenate(ids).astype(np.int64))[None],
        "position_ids": torch.from_numpy(positions)[None],
        "boundaries": boundaries.tolist(),
        "offsets": torch.from_numpy(boundaries.astype(np.int32)),
    }


def collate_padded(store: TokenStore, rows: np.ndarray, length: int, pad_id: int) -> Batch:
    """Pads consultations to a common length, as usual recipes do; the loss equals that of `collate_flat`.

    Args:
        store: The tokens of a split.
        rows: `[rows]`, row numbers.
        length: Tokens of each padded row.
        pad_id: The id that fills them.

    Returns:
        `input_ids`, `attention_mask`: `[rows, length]`, int64.
        And the entries of `_collect_targets`, with positions in the rows laid end to end.
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
    """Removes a batch's targets, so that nothing is learned from it and it counts nowhere.

    For a rank that has no row left in a step: it runs through the network all the same, because the other ranks wait
    for its gradients, which are zero.
    """
    empty = {name: batch[name][:0] for name in ("predict_at", "targets", "rows")}
    return {**batch, **empty, "answers": 0, "answer_bytes": 0}


def _collect_targets(store: TokenStore, rows: np.ndarray, ids: list[np.ndarray], starts: np.ndarray) -> Batch:
    """Returns what is to be predicted, and from where: the answers' tokens first, then the questions'.

    Returns:
        `predict_at`: `[targets]`, int64, positions whose hidden state predicts; one before the token itself.
        `targets`: `[targets]`, int64, token ids.
        `answers`: How many of them belong to answers.
        `answer_bytes`: UTF-8 bytes of the answers.
        `rows`: The rows' numbers in the store.
    """
    places: dict[int, list[np.ndarray]] = {ANSWER: [], QUESTION: []}
    targets: dict[int, list[np.ndarray]] = {ANSWER: [], QUESTION: []}
    for row, content, start in zip(rows, ids, starts, strict=True):
        parts = store.parts(row)
        for part in (ANSWER, QUESTION):
            before = np.flatnonzero(parts[1:] == part)  # one before each token of that part
            places[part].append(before + start)
            targets[part].append(content[before + 1])
    return {
        "predict_at": torch.from_numpy(np.concatenate(places[ANSWER] + places[QUESTION])),
        "targets": torch.from_numpy(np.concatenate(targets[ANSWER] + targets[QUESTION]).astype(np.int64)),
        "answers": sum(map(len, places[ANSWER])),
        "answer_bytes": int(store.answer_bytes[rows].sum()),
        "rows": rows.tolist(),
    }
