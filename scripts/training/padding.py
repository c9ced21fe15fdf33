"""Padded batches, and the loss of held-back answers computed with them."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from training.rows import IGNORED, Rows

HELD_BACK = 32  # rows for the final loss
_BATCH = 4  # rows of a batch of these


@torch.inference_mode()
def compute_held_back_loss(network: PreTrainedModel, rows: Rows, device: torch.device) -> float:
    """Computes the mean loss, in nats, of an answer's token, with transformers' own forward pass in float32.

    Args:
        network: Moved to the device, in evaluation mode afterwards.
        rows: Rows that no contender trained on; the first `HELD_BACK` are used.
        device: Where to compute.
    """
    network.to(device).eval()  # type: ignore[arg-type]
    order = sorted(range(min(len(rows), HELD_BACK)), key=lambda row: int(rows.lengths[row]))
    total, count = 0.0, 0
    for start in range(0, len(order), _BATCH):
        batch = pad_rows(rows, order[start : start + _BATCH])
        labels = batch.pop("labels")[:, 1:].to(device)
        logits = network(**{name: tensor.to(device) for name, tensor in batch.items()}).logits[:, :-1]
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        total, count = total + float(loss), count + int((labels != IGNORED).sum())
    return total / count


def pad_rows(rows: Rows, numbers: list[int], width: int = 0, all_tokens: bool = False) -> dict[str, torch.Tensor]:
    """Builds a padded batch.

    Args:
        rows: All rows.
        numbers: Numbers of the rows in the batch.
        width: Minimal number of columns.
        all_tokens: Learn all tokens except the padding, not the answers alone.

    Returns:
        `input_ids`, `attention_mask` and `labels`, each `[rows, columns]`, int64. The padding is zeros, which the mask
        hides.
    """
    width = max(width, int(rows.lengths[numbers].max()))
    ids, mask = torch.zeros(len(numbers), width, dtype=torch.long), torch.zeros(len(numbers), width, dtype=torch.long)
    labels = torch.full((len(numbers), width), IGNORED)
    for line, row in enumerate(numbers):
        span = slice(rows.starts[row], rows.starts[row + 1])
        length = int(rows.lengths[row])
        ids[line, :length] = torch.from_numpy(rows.ids[span])
        labels[line, :length] = torch.from_numpy((rows.ids if all_tokens else rows.labels)[span])
        mask[line, :length] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
