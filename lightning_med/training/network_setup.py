"""The network that a fit starts from, or that a checkpoint describes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.distributed.device_mesh import DeviceMesh
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lightning_med.checkpoints.reading import read_card, read_checkpoint
from lightning_med.model.causal_lm import add_embeddings, build_from_scratch, build_from_text, load_base
from lightning_med.model.execution import Execution, choose_execution, get_context_length
from lightning_med.tokenization.tokenizer import load_tokenizer
from lightning_med.training.base_checks import compare_tokens, name_own_tokenizer
from lightning_med.training.sharding import shard_weights
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError


def start_network(
    settings: dict[str, Any], tokenizer: PreTrainedTokenizerFast, seed: int, added: Sequence[str] = ()
) -> PreTrainedModel:
    """Returns the network as it is before any fine-tuning: the base's weights, or new ones.

    Args:
        settings: `base`, `from_scratch` and `attention_dropout` of `DialogueLM`.
        tokenizer: The one that encoded the data.
        seed: Of new weights.
        added: Tokens that the user adds to the base's; they get new embeddings.

    Raises:
        InputError: The base cannot be loaded, or its tokens are not the tokenizer's.
    """
    dropout = settings["attention_dropout"]
    if settings["from_scratch"]:
        fields = dict(settings["from_scratch"])
        return build_from_scratch(fields, len(tokenizer), tokenizer.eos_token_id, dropout, seed)
    network = load_base(settings["base"], dropout)
    _check_tokens(settings["base"], network, tokenizer, added)
    ids = tokenizer.get_vocab()
    add_embeddings(network, [ids[word] for word in added])
    return network


def _check_tokens(
    base: str, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, added: Sequence[str]
) -> None:
    """Refuses a tokenizer that gives a token another number than the base's own does.

    Raises:
        InputError: The tokens are others, or more than the base knows.
    """
    embeddings: Any = network.get_input_embeddings()
    known = len(embeddings.weight)
    ours = {token: number for token, number in tokenizer.get_vocab().items() if token not in added}
    if (greatest := max(ours.values())) >= known:
        what = f"The tokenizer has {greatest + 1} tokens, the base {base} knows {known}."
        raise InputError(what, name_own_tokenizer(base))
    try:
        theirs = load_tokenizer(base).get_vocab()
    except InputError:
        say(f"{base} has no tokenizer, so it is not checked whether the data's tokenizer is the base's.")
        return
    compare_tokens(base, theirs, ours)


def restore_network(checkpoint: str) -> PreTrainedModel:
    """Returns the network that a checkpoint describes, its weights still to be loaded."""
    say("The base cannot be loaded here; the checkpoint has all weights, so there is no comparison with the base.")
    return build_from_text(read_card(read_checkpoint(checkpoint))["network"])


def finish_network(network: PreTrainedModel, mesh: DeviceMesh | None, longest: int, padded: bool = False) -> None:
    """Finds how a network runs exactly, then shards it in place, as asked for.

    Args:
        network: With all weights on every rank.
        mesh: The ranks that share the weights; `None` where each has all.
        longest: Tokens of the longest consultation.
        padded: Whether the data comes in padded batches.

    Raises:
        InputError: A consultation is longer than the network's context, or the network cannot be run exactly.
    """
    limit = get_context_length(network)
    if longest > limit:
        raise InputError(
            f"A consultation has {longest} tokens, more than the model's context of {limit}.",
            f"Cut such ones: --data.eval_max_length {limit}, and --data.max_length as much or less.",
        )
    execution = choose_execution(network, longest, flat=not padded)
    if execution.reason and not padded:
        say(f"{network.config.model_type}: batches are padded, which is slower, because {execution.reason}.")
    if mesh is not None:
        _check_sharding(network, execution, padded)
        shard_weights(network, mesh)


def _check_sharding(network: PreTrainedModel, execution: Execution, padded: bool) -> None:
    """Refuses what ranks that share the weights cannot run.

    Raises:
        InputError: Batches are padded in groups, whose number differs between ranks that wait for each other; or the
            output layer has weights of its own, which are not shared.
    """
    if not execution.flat and not padded:
        raise InputError(
            f"--trainer.strategy sharded: a {network.config.model_type} network cannot run flat batches.",
            "Use --trainer.strategy ddp, or --data.pad_to_max_length true.",
        )
    head: Any = network.get_output_embeddings()
    embeddings: Any = network.get_input_embeddings()
    if head.weight is not embeddings.weight or head.bias is not None:
        raise InputError(
            "--trainer.strategy sharded: the base's output layer has weights beside those of its embeddings.",
            "Use --trainer.strategy ddp, or a base whose output layer is tied to its embeddings.",
        )
