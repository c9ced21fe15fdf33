"""The network that a fit starts from, or that a checkpoint describes."""

from __future__ import annotations

from typing import Any

from torch.distributed.device_mesh import DeviceMesh
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lightning_med.checkpoints.reading import read_card, read_checkpoint
from lightning_med.model.causal_lm import build_from_scratch, build_from_text, load_base
from lightning_med.model.execution import get_context_length
from lightning_med.training.sharding import shard_weights
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError


def start_network(settings: dict[str, Any], tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """Returns the network as it is before any fine-tuning: the base's weights, or new ones.

    Args:
        settings: `base`, `from_scratch` and `attention_dropout` of `DialogueLM`.
        tokenizer: The one that encoded the data.
        seed: Of new weights.

    Raises:
        InputError: The base cannot be loaded, or has fewer tokens than the tokenizer.
    """
    dropout = settings["attention_dropout"]
    if settings["from_scratch"]:
        fields = dict(settings["from_scratch"])
        return build_from_scratch(fields, len(tokenizer), tokenizer.eos_token_id, dropout, seed)
    network = load_base(settings["base"], dropout)
    size: Any = network.get_input_embeddings().num_embeddings
    if len(tokenizer) > int(size):
        raise InputError(
            f"The tokenizer has {len(tokenizer)} tokens, the base {settings['base']} knows {size}.",
            f"Take the base's own: --data.tokenizer {settings['base']}",
        )
    return network


def restore_network(checkpoint: str) -> PreTrainedModel:
    """Returns the network that a checkpoint describes, its weights still to be loaded."""
    say("The base cannot be loaded here; the checkpoint has all weights, so there is no comparison with the base.")
    return build_from_text(read_card(read_checkpoint(checkpoint))["network"])


def finish_network(network: PreTrainedModel, mesh: DeviceMesh | None, compiled: bool, longest: int) -> None:
    """Shards and compiles a network in place, as asked for.

    Args:
        network: With all weights on every rank.
        mesh: The ranks that share the weights; `None` where each has all.
        compiled: Whether to compile it, for all lengths of batches; the names of its weights stay.
        longest: Tokens of the longest consultation.

    Raises:
        InputError: A consultation is longer than the network's context.
    """
    if mesh is not None:
        shard_weights(network, mesh)
    if compiled:
        network.base_model.compile(dynamic=True)
    limit = get_context_length(network)
    if longest > limit:
        raise InputError(
            f"A consultation has {longest} tokens, more than the model's context of {limit}.",
            f"Cut such ones: --data.eval_max_length {limit}, and --data.max_length as much or less.",
        )
