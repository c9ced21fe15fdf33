"""A checkpoint's model with all that an export writes of it, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_med.checkpoints.reading import read_card, select_network
from lightning_med.export.exported_tokenizer import make_exported_tokenizer
from lightning_med.inference.decoding import Decoding
from lightning_med.model.adaptation import AdapterOrigin
from lightning_med.model.causal_lm import build_from_text
from lightning_med.model.execution import get_context_length
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompts import Prompt, read_prompt
from lightning_med.utils.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from lightning_med.model.adapter import Adapter


@dataclass(frozen=True)
class TrainedModel:
    """What an export is made of.

    Attributes:
        network: With the trained weights, in float32; the frozen base of an adapter may be in another type.
        tokenizer: Of the export.
        prompt: Of the training.
        decoding: Settings of its answers.
        stops: Ids that an answer is over at, its learned end first.
        context: Tokens that the network can read at once.
        card: Our entry of the checkpoint; see `lightning_med.checkpoints.reading.read_card`.
        steps: Optimizer steps of the checkpoint.
        adapter: In the network, where it is exported alone; None if the network's weights are whole.
        base: Of the adapter: its name on the Hub, or its full path, so that it is found from anywhere.
        checkpoint: Name of the file, that of a link's target.
        checkpoint_digest: SHA-256 of the file.
    """

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    prompt: Prompt
    decoding: Decoding
    stops: list[int]
    context: int
    card: dict[str, Any]
    steps: int
    adapter: Adapter | None = None
    base: str = ""
    checkpoint: str = ""
    checkpoint_digest: str = ""


def build_network(
    content: dict[str, Any], card: dict[str, Any], base: str | None = None
) -> tuple[PreTrainedModel, Adapter | None, str]:
    """Builds the network of a checkpoint, with its weights; returns it, its adapter and that one's base, if it has one.

    Args:
        content: The checkpoint, as by `lightning_med.checkpoints.reading.read_checkpoint`.
        card: Our entry of it.
        base: Where an adapter's base is now; default: where it was.

    Raises:
        InputError: An adapter's base cannot be reached, or is another one.
    """
    state = select_network(content["state_dict"])
    if "adapter" in card:
        origin = AdapterOrigin.from_json(card["adapter"])
        adapter, name = origin.restore(card["network"], state, base), base or origin.base
        return adapter.network, adapter, str(Path(name).resolve()) if Path(name).exists() else name
    if base is not None:
        raise InputError("--base is for the checkpoint of an adapter; this one holds all weights.", "Leave it out.")
    network = build_from_text(card["network"])
    network.load_state_dict(state)
    return network, None, ""


def restore_model(content: dict[str, Any], base: str | None = None, merge: bool = True) -> TrainedModel:
    """Restores the model of a checkpoint.

    Args:
        content: The checkpoint, as by `lightning_med.checkpoints.reading.read_checkpoint`.
        base: Where an adapter's base is now; default: where it was.
        merge: Add an adapter to its base's weights.

    Raises:
        InputError: Its prompt cannot be read, or an adapter's base.
    """
    card = read_card(content)
    prompt = read_prompt(card)
    network, adapter, base = build_network(content, card, base)
    if adapter is None and not merge:
        raise InputError("--adapter: this checkpoint holds no adapter but all weights.", "Leave --adapter out.")
    if adapter is not None and merge:
        network, adapter = adapter.merge(), None
    settings = card["settings"].get("model", {})
    decoding = Decoding(**{key: settings[key] for key in Decoding.__annotations__ if key in settings})
    tokenizer = make_exported_tokenizer(card["tokenizer"], prompt)
    tokenizer.model_max_length = context = get_context_length(network)
    stops = Encoder(tokenizer, prompt, card["max_length"]).stops
    return TrainedModel(
        network, tokenizer, prompt, decoding, stops, context, card, int(content["global_step"]), adapter, base
    )
