"""Builds the causal language model (the network) and computes the loss of a batch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config

from lightning_med.model import attention
from lightning_med.model.fast_layers import replace_layers
from lightning_med.model.loss import compute_answer_nll
from lightning_med.utils.errors import InputError
from lightning_med.utils.hub import download, explain_hub_errors

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_ATTENTION_DROPOUT = ("attn_pdrop", "attention_dropout")  # configuration fields: of GPT-2, of most other models


def load_base(base: str, attention_dropout: float) -> PreTrainedModel:
    """Loads a pretrained network in float32 and training mode.

    Args:
        base: A folder or a name on the Hub; its weights must be safetensors.
        attention_dropout: Dropout probability of the attention weights; other dropout stays as the base has it.

    Raises:
        InputError: The base cannot be loaded, or its output layer is not linear without bias or soft cap.
    """
    option = "--model.base FOLDER"
    folder = download(base, option, ["*.json", "*.safetensors"])
    with explain_hub_errors(base, option):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        _set_dropout(config, attention_dropout)
        network = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation=attention.ATTENTION_NAME,
            use_safetensors=True,
            trust_remote_code=False,
        )
    head = network.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.bias is not None or getattr(config, "final_logit_softcapping", None):
        raise InputError(
            f"{base}: its output layer is not a plain linear one.", "Use a model of the GPT-2 or Llama family."
        )
    return replace_layers(network.train())


def build_from_scratch(
    fields: dict[str, Any], vocab_size: int, eos_token_id: int, attention_dropout: float, seed: int
) -> PreTrainedModel:
    """Builds a GPT-2 with random weights; the global random state is not changed.

    Args:
        fields: Fields of `GPT2Config`, for instance `{"n_layer": 2, "n_embd": 128, "n_head": 4}`.
        vocab_size: Number of tokens of the tokenizer.
        eos_token_id: Id of the end token.
        attention_dropout: Dropout probability of the attention weights, unless `fields` set `attn_pdrop`.
        seed: Seed of the weights.

    Raises:
        InputError: A field is unknown or does not fit the others.
    """
    unknown = sorted(set(fields) - set(GPT2Config().to_dict()))
    if unknown:
        raise InputError(f"from_scratch: GPT2Config has no {', '.join(unknown)}.", "Usual: n_layer, n_embd, n_head.")
    tokens = {"vocab_size": vocab_size, "bos_token_id": eos_token_id, "eos_token_id": eos_token_id}
    try:
        config = GPT2Config(**{**tokens, "attn_pdrop": attention_dropout, **fields})
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return _build(config)
    except (ValueError, TypeError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"from_scratch {fields}: {reason}", "Set the usual ones together: n_layer, n_embd, n_head."
        ) from error


def build_from_text(text: str) -> PreTrainedModel:
    """Builds a network from the text of `describe_network`; the caller loads its weights."""
    fields = json.loads(text)
    return _build(AutoConfig.for_model(fields.pop("model_type"), **fields))


def describe_network(network: PreTrainedModel) -> str:
    """Returns the network's configuration as JSON, for a checkpoint."""
    return network.config.to_json_string(use_diff=False)


def get_context_length(network: PreTrainedModel) -> int:
    """Returns the maximal number of tokens of a prompt and its answer together."""
    return int(getattr(network.config, "max_position_embeddings", 1024))


def compute_nll(network: PreTrainedModel, batch: dict[str, Any], question_weight: float = 0.0) -> tuple[Tensor, Tensor]:
    """Computes the negative log-likelihood of a batch's targets, with logits only at the positions that predict them.

    Args:
        network: A causal language model of transformers with a plain linear output layer.
        batch: A flat or padded batch of `lightning_med.data.batching.collate`.
        question_weight: Weight of the question tokens in the sum; at 0 their logits are not computed.

    Returns:
        The weighted sum in nats, a float32 scalar with gradient, and the values of the answer tokens in nats,
        `[answers]`, float32, without gradient.
    """
    hidden = network.base_model(use_cache=False, **_select_inputs(batch)).last_hidden_state
    answers = batch["answers"]
    count = len(batch["targets"]) if question_weight else answers
    predicting = hidden.flatten(0, 1).index_select(0, batch["predict_at"][:count])  # [count, width]
    loss_weights = None
    if question_weight:
        loss_weights = torch.ones(count, device=predicting.device)
        loss_weights[answers:] = question_weight
    # If tied, use the embedding's weight: with sharded parameters that module has gathered it in its forward pass.
    tied = getattr(network.config, "tie_word_embeddings", False)
    weight: Any = (network.get_input_embeddings() if tied else network.get_output_embeddings()).weight
    total, nll = compute_answer_nll(predicting, weight, batch["targets"][:count], loss_weights)
    return total, nll[:answers]


def _select_inputs(batch: dict[str, Any]) -> dict[str, Any]:
    if "boundaries" not in batch:
        return {name: batch[name] for name in ("input_ids", "attention_mask")}
    documents = attention.DocumentBounds(batch["boundaries"], batch["offsets"])
    return {
        "input_ids": batch["input_ids"],
        "position_ids": batch["position_ids"],
        "attention_mask": attention.make_flat_mask(),
        "documents": documents,
    }


def _build(config: PretrainedConfig) -> PreTrainedModel:
    network = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation=attention.ATTENTION_NAME, trust_remote_code=False
    )
    return replace_layers(network.train())


def _set_dropout(config: PretrainedConfig, probability: float) -> None:
    for name in _ATTENTION_DROPOUT:
        if hasattr(config, name):
            setattr(config, name, probability)
