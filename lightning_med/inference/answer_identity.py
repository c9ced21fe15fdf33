"""What answers depend on: an interrupted file of answers is gone on with only where it is the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from lightning_med.inference.decoding import Decoding
from lightning_med.safety.messages.encoder.decision import get_costs
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.tokenizer import store_tokenizer
from lightning_med.version import __version__

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def identify_answers(network: PreTrainedModel, encoder: Encoder, decoding: Decoding) -> dict[str, str]:
    """Returns what a network's answers depend on beside the questions, by a name for messages.

    Args:
        network: Its weights are read once.
        encoder: With the prompt and the tokenizer.
        decoding: Decoding settings.
    """
    prompt = json.dumps([store_tokenizer(encoder.tokenizer), encoder.prompt.to_json()])
    return {
        "model": compute_weights_digest(network)[:16],
        "tokenizer or prompt": hashlib.sha256(prompt.encode()).hexdigest()[:16],
        **{name: str(value) for name, value in asdict(decoding).items()},
        "kind of device": network.device.type,
        "costs of triage": str(get_costs()),
        "version of lightning-med": __version__,
    }


def compute_weights_digest(network: PreTrainedModel) -> str:
    """Returns the SHA-256 of a network's weights with their names and types, in hexadecimal."""
    digest = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {list(weight.shape)}\n".encode())
        content = weight.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(content.numpy())  # type: ignore[arg-type]
    return digest.hexdigest()
