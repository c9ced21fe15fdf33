"""Flat batches for the tests of networks."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor


def make_flat_batch(rows: list[Tensor], learned: Tensor) -> dict[str, Any]:
    """Returns a flat batch.

    Args:
        rows: Token ids of each consultation.
        learned: Places of the tokens that are learned, when the rows lie end to end.
    """
    ids, bounds = torch.cat(rows), [0, *accumulate(map(len, rows))]
    return {
        "input_ids": ids[None],
        "position_ids": torch.cat([torch.arange(len(row)) for row in rows])[None],
        "boundaries": bounds,
        "offsets": torch.tensor(bounds, dtype=torch.int32),
        "predict_at": learned - 1,
        "targets": ids[learned],
        "answers": len(learned),
    }
