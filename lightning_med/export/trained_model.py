"""A checkpoint's model with all that an export writes of it, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_med.checkpoints.reading import read_card
from lightning_med.export.exported_tokenizer import make_exported_tokenizer
from lightning_med.inference.generation import Decoding
from lightning_med.model.causal_lm import build_from_text
from lightning_med.model.execution import get_context_length
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import Prompt, read_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class TrainedModel:
    """What an export is made of.

    Attributes:
        network: With the trained weights, in float32.
        tokenizer: Of the export.
        prompt: Of the training.
        decoding: Settings of its answers.
        stops: Ids that an answer is over at, its learned end first.
        context: Tokens that the network can read at once.
        card: Our entry of the checkpoint; see `lightning_med.checkpoints.reading.read_card`.
        steps: Optimizer steps of the checkpoint.
    """

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    prompt: Prompt
    decoding: Decoding
    stops: list[int]
    context: int
    card: dict[str, Any]
    steps: int


def build_network(content: dict[str, Any], card: dict[str, Any]) -> PreTrainedModel:
    """Builds the network of a checkpoint, with its weights.

    Args:
        content: The checkpoint, as by `lightning_med.checkpoints.reading.read_checkpoint`.
        card: Our entry of it.
    """
    network = build_from_text(card["network"])
    network.load_state_dict({key.removeprefix("model."): value for key, value in content["state_dict"].items()})
    return network


def restore_model(content: dict[str, Any]) -> TrainedModel:
    """Restores the model of a checkpoint.

    Args:
        content: The checkpoint, as by `lightning_med.checkpoints.reading.read_checkpoint`.

    Raises:
        InputError: Its prompt cannot be read.
    """
    card = read_card(content)
    prompt = read_prompt(card)
    network = build_network(content, card)
    settings = card["settings"].get("model", {})
    decoding = Decoding(**{key: settings[key] for key in Decoding.__annotations__ if key in settings})
    tokenizer = make_exported_tokenizer(card["tokenizer"], prompt)
    tokenizer.model_max_length = context = get_context_length(network)
    stops = Encoder(tokenizer, prompt, card["max_length"]).stops
    return TrainedModel(network, tokenizer, prompt, decoding, stops, context, card, int(content["global_step"]))
