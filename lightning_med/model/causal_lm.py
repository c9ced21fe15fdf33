"""The causal language model inside: from the Hub, a folder, from scratch, or as a checkpoint describes it."""

from __future__ import annotations

import json
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, PretrainedConfig, PreTrainedModel

from lightning_med.model import attention
from lightning_med.model.fast_layers import replace_layers
from lightning_med.model.loss import compute_answer_nll
from lightning_med.utils.errors import InputError
from lightning_med.utils.hub import download, explain_hub_errors

_ATTENTION_DROPOUT = ("attn_pdrop", "attention_dropout")  # GPT-2's name for it, and most others'


def load_base(base: str, attention_dropout: float) -> PreTrainedModel:
    """A pretrained model in float32, by its name on the Hub or its folder.

    Raises:
        InputError: It is not there, or its output layer is not a plain linear one.
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
            attn_implementation=attention.NAME,
            use_safetensors=True,
            trust_remote_code=False,
        )
    head = network.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.bias is not None or getattr(config, "final_logit_softcapping", None):
        raise InputError(f"{base}: its output layer is not a plain linear one.", "GPT-2, Llama and their kin have one.")
    return replace_layers(network.train())


def build_from_scratch(
    fields: dict[str, Any], vocabulary: int, end: int, attention_dropout: float, seed: int
) -> PreTrainedModel:
    """A new GPT-2 with weights that `seed` alone decides; the random stream of the caller is left as it was.

    Args:
        fields: Of GPT2Config, for instance `{"n_layer": 2, "n_embd": 128, "n_head": 4}`.
        vocabulary: Tokens of the tokenizer.
        end: The end token's id.
        attention_dropout: Used where `fields` name no `attn_pdrop`.
        seed: Of the weights.

    Raises:
        InputError: A field is unknown or does not fit the others.
    """
    unknown = sorted(set(fields) - set(GPT2Config().to_dict()))
    if unknown:
        raise InputError(f"from_scratch: GPT2Config has no {', '.join(unknown)}.", "Usual: n_layer, n_embd, n_head.")
    ends = {"bos_token_id": end, "eos_token_id": end}
    try:
        config = GPT2Config(**{"vocab_size": vocabulary, "attn_pdrop": attention_dropout, **ends, **fields})
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return _build(config)
    except (ValueError, TypeError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"from_scratch {fields}: {reason}", "Take the usual ones together: n_layer, n_embd, n_head."
        ) from error


def build_from_text(text: str) -> PreTrainedModel:
    """The model that `to_text` described, its weights still to be loaded."""
    fields = json.loads(text)
    return _build(AutoConfig.for_model(fields.pop("model_type"), **fields))


def describe_network(network: PreTrainedModel) -> str:
    """The architecture as JSON, for a checkpoint."""
    return network.config.to_json_string(use_diff=False)


def get_context_length(network: PreTrainedModel) -> int:
    """Tokens the model can look at, question and answer together."""
    return int(getattr(network.config, "max_position_embeddings", 1024))


def compute_nll(network: PreTrainedModel, batch: dict[str, Any], question_weight: float = 0.0) -> tuple[Tensor, Tensor]:
    """Likelihood of a batch's targets, logits computed at the places that predict them and nowhere else.

    Args:
        network: Any causal model of transformers with a plain output layer.
        batch: Of `lightning_med.data.batches`, flat or padded.
        question_weight: Weight of the questions' tokens in the sum; 0 leaves them out altogether.

    Returns:
        The weighted sum in nats, with a gradient; and nats of the answers' tokens, `[answers]`, without.
    """
    hidden = network.base_model(use_cache=False, **_select_inputs(batch)).last_hidden_state
    answers = batch["answers"]
    count = len(batch["targets"]) if question_weight else answers
    picked = hidden.flatten(0, 1).index_select(0, batch["predict_at"][:count])
    importance = None
    if question_weight:
        importance = torch.ones(count, device=picked.device)
        importance[answers:] = question_weight
    # Tied, it is the embedding's: where weights are shared out, that is the one that is gathered by now.
    tied = getattr(network.config, "tie_word_embeddings", False)
    weight: Any = (network.get_input_embeddings() if tied else network.get_output_embeddings()).weight
    total, each = compute_answer_nll(picked, weight, batch["targets"][:count], importance)
    return total, each[:answers]


def _select_inputs(batch: dict[str, Any]) -> dict[str, Any]:
    if "boundaries" not in batch:
        return {name: batch[name] for name in ("input_ids", "attention_mask")}
    documents = attention.DocumentBounds(batch["boundaries"], batch["offsets"])
    names = ("input_ids", "position_ids")
    return {
        "attention_mask": attention.make_flat_mask(),
        "documents": documents,
        **{name: batch[name] for name in names},
    }


def _build(config: PretrainedConfig) -> PreTrainedModel:
    network = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation=attention.NAME, trust_remote_code=False
    )
    return replace_layers(network.train())


def _set_dropout(config: PretrainedConfig, probability: float) -> None:
    for name in _ATTENTION_DROPOUT:
        if hasattr(config, name):
            setattr(config, name, probability)
