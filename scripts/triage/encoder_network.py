"""The classifier of triage as a torch network: a sentence encoder with a linear layer over its mean."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel, BertModel

from lightning_med.utils.errors import InputError


class EncoderNetwork(nn.Module):
    """A BERT encoder, the mean over its last states, and one score for each class.

    Args:
        folder: Of the encoder, in the form of transformers.
        classes: Number of classes.
    """

    def __init__(self, folder: Path, classes: int) -> None:
        super().__init__()
        encoder = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
        if not isinstance(encoder, BertModel):
            raise InputError(f"--encoder {folder} holds a {type(encoder).__name__}, no BertModel.")
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Returns scores `[messages, classes]` of token ids `[messages, tokens]`; `mask` is 1 at a token, else 0."""
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[:, :, None].to(states.dtype)
        return self.head((states * weights).sum(1) / weights.sum(1))
