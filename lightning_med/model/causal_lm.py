"""Builds the causal language model (the network) and computes the loss of a batch."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from lightning_med.model.execution import compute_hidden, get_execution
from lightning_med.model.fast_layers import replace_layers
from lightning_med.model.loss import compute_answer_nll
from lightning_med.model.weight_files import check_config, check_files, load_weights, read_config
from lightning_med.utils.argument_types import MOST, check_field
from lightning_med.utils.errors import InputError
from lightning_med.utils.hub import download, explain_hub_errors
from lightning_med.utils.memory.free_memory import measure_host_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_OPTION = "--model.base FOLDER"
_ATTENTION_DROPOUT = ("attn_pdrop", "attention_dropout")  # configuration fields: of GPT-2, of most other models
_COUNTS = {  # configuration fields that count something
    *("n_layer", "n_embd", "n_head", "n_positions", "n_inner"),
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size"),
    *("head_dim", "max_position_embeddings", "vocab_size"),
}
_TOKEN_IDS = {"bos_token_id", "eos_token_id", "pad_token_id"}
_SHARED = {*_TOKEN_IDS, "tie_word_embeddings"}  # what all families have and a network is shaped by
_UNUSED = ("summary_", "add_cross_attention")  # fields of GPT-2 for other tasks
BUILD_ERRORS = (  # what configurations and networks raise for fields that do not fit each other
    *(ValueError, TypeError, StrictDataclassError, RuntimeError, ZeroDivisionError, KeyError),
    *(AttributeError, IndexError, AssertionError, ImportError),
)


def open_base(base: str) -> tuple[Path, PretrainedConfig]:
    """Returns the folder of a base, downloaded if need be, and its configuration.

    Raises:
        InputError: There is none, or its configuration shows that it cannot be trained.
    """
    folder = download(base, _OPTION, ["*.json", "*.safetensors"])
    check_files(folder, base)
    with explain_hub_errors(base, _OPTION):
        config = read_config(folder)
    check_config(config, base)
    return folder, config


def load_base(base: str, attention_dropout: float) -> PreTrainedModel:
    """Loads a pretrained network in float32 and training mode.

    Args:
        base: A folder or a name on the Hub; its weights must be safetensors, complete and not quantized.
        attention_dropout: Dropout probability of the attention weights; other dropout stays as the base has it.

    Raises:
        InputError: The base cannot be loaded, lacks weights, or is no decoder.
    """
    folder, config = open_base(base)
    set_attention_dropout(config, attention_dropout)
    with explain_hub_errors(base, _OPTION):
        network = load_weights(folder, base, config=config, dtype=torch.float32)
    return replace_layers(network.train())


def add_embeddings(network: PreTrainedModel, new: list[int]) -> None:
    """Gives new tokens the mean of all other embeddings (Hewitt, 2021), in place.

    Args:
        network: Of a base; its embeddings are enlarged if they have too few rows. Some bases have rows to spare.
        new: Ids of the new tokens.
    """
    if not new:
        return
    embeddings: Any = network.get_input_embeddings()
    old = torch.ones(len(embeddings.weight), dtype=torch.bool)
    old[[token for token in new if token < len(old)]] = False
    if max(new) >= len(old):
        network.resize_token_embeddings(max(new) + 1, mean_resizing=False)
    for layer in (network.get_input_embeddings(), network.get_output_embeddings()):
        weight: Any = layer.weight  # type: ignore[union-attr]
        weight.data[new] = weight.data[: len(old)][old].mean(0)


def build_from_scratch(
    fields: dict[str, Any], vocab_size: int, eos_token_id: int, attention_dropout: float, seed: int
) -> PreTrainedModel:
    """Builds a decoder with random weights; the global random state is not changed.

    Args:
        fields: `model_type` (default `gpt2`) and fields of its configuration in transformers, for instance
            `{"n_layer": 2, "n_embd": 128, "n_head": 4}` or `{"model_type": "llama", "hidden_size": 256}`.
        vocab_size: Number of tokens of the tokenizer.
        eos_token_id: Id of the end token.
        attention_dropout: Dropout probability of the attention weights, unless `fields` set it.
        seed: Seed of the weights.

    Raises:
        InputError: A field is unknown, does not fit the others, or gives a vocabulary below the tokenizer's.
    """
    config = _make_config(fields, vocab_size, eos_token_id, attention_dropout)
    _check_size(config)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return _build(config)
    except BUILD_ERRORS as error:
        raise _explain_fields(fields, error) from error


def _make_config(
    fields: dict[str, Any], vocab_size: int, eos_token_id: int, attention_dropout: float
) -> PretrainedConfig:
    fields = dict(fields)
    model_type = fields.pop("model_type", "gpt2")
    if not isinstance(model_type, str) or model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        near = difflib.get_close_matches(str(model_type), MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, n=3)
        raise InputError(
            f"from_scratch: transformers has no decoder of model_type {model_type!r}.",
            f"Did you mean {' or '.join(near)}?" if near else "Usual: gpt2, llama, qwen2, mistral, gemma2.",
        )
    kind = CONFIG_MAPPING[model_type]
    defaults = kind().to_dict()
    known = {*(defaults.keys() - PretrainedConfig().to_dict().keys()), *_SHARED, *kind.attribute_map}
    known = {name for name in known if not name.startswith(_UNUSED)}
    if unknown := sorted(set(fields) - known):
        raise InputError(f"from_scratch: {kind.__name__} has no {', '.join(unknown)}.", _usual_fields(model_type))
    for name, value in fields.items():
        default = defaults.get(kind.attribute_map.get(name, name))
        check_field(f"from_scratch: {name}", value, default, is_count=name in _COUNTS)
    size = fields.get("vocab_size") or vocab_size
    if size < vocab_size:
        raise InputError(
            f"from_scratch: vocab_size is {size}, but the tokenizer has {vocab_size} tokens.",
            "Leave vocab_size out: it is then the tokenizer's.",
        )
    for name in _TOKEN_IDS & fields.keys():
        if fields[name] is not None and not (type(fields[name]) is int and 0 <= fields[name] < size):
            raise InputError(f"from_scratch: {name} is {fields[name]!r}.", f"It must be a token's number below {size}.")
    tokens: dict[str, Any] = {"vocab_size": vocab_size, "bos_token_id": eos_token_id, "eos_token_id": eos_token_id}
    if model_type != "gpt2":
        tokens["pad_token_id"] = None  # a family's default may lie beyond the vocabulary, and it would not be learned
    try:
        config = kind(**{**tokens, **fields})
    except BUILD_ERRORS as error:
        raise _explain_fields({"model_type": model_type, **fields}, error) from error
    check_config(config, f"from_scratch {model_type}")
    heads, shared = (getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads"))
    if isinstance(heads, int) and isinstance(shared, int) and heads % shared:
        raise InputError(
            f"from_scratch: num_attention_heads {heads} is not divisible by num_key_value_heads {shared}.",
            "Give another number, for instance the same for both.",
        )
    if not set(_ATTENTION_DROPOUT) & fields.keys():
        set_attention_dropout(config, attention_dropout)
    return config


def check_from_scratch(fields: dict[str, Any]) -> None:
    """Refuses fields of which no network can be built, before there is a tokenizer; see `build_from_scratch`.

    Raises:
        InputError: A field is unknown, has a value that it cannot have, or does not fit the others.
    """
    config = _make_config(fields, fields.get("vocab_size") or MOST, 0, 0.0)
    try:
        _outline(config)
    except RuntimeError:  # some families cannot be built without memory
        return
    except BUILD_ERRORS as error:
        raise _explain_fields(fields, error) from error


def _outline(config: PretrainedConfig) -> PreTrainedModel:
    """Builds a network without memory for its weights."""
    with torch.device("meta"):
        network: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return network


def _check_size(config: PretrainedConfig) -> None:
    """Refuses a network whose weights alone do not fit into this machine's free memory.

    Raises:
        InputError: They do not.
    """
    try:
        needed, free = 4 * sum(weight.numel() for weight in _outline(config).parameters()), measure_host_memory()
    except BUILD_ERRORS:  # building it says why
        return
    if needed > free and torch.get_default_device().type == "cpu":
        raise InputError(
            f"from_scratch: the weights of this network take {needed / 2**30:,.1f} GiB, {free / 2**30:,.1f} are free.",
            "Give smaller numbers.",
        )


def _explain_fields(fields: dict[str, Any], error: Exception) -> InputError:
    reason = " ".join((str(error) or type(error).__name__).split())[:200]
    if isinstance(error, KeyError):
        reason = f"{reason} is not a known value."
    return InputError(f"from_scratch {fields}: {reason}", _usual_fields(fields.get("model_type", "gpt2")))


def _usual_fields(model_type: str) -> str:
    usual = "n_layer, n_embd, n_head"
    if model_type != "gpt2":
        usual = "hidden_size, num_hidden_layers, num_attention_heads, intermediate_size"
    return f"Set the usual ones together: {usual}."


def build_from_text(text: str) -> PreTrainedModel:
    """Builds a network from the text of `describe_network`; the caller loads its weights."""
    with TemporaryDirectory() as folder:  # transformers reads infinities, as some families have, from a file alone
        (Path(folder) / "config.json").write_text(text, encoding="utf-8")
        config = read_config(Path(folder))
    config.name_or_path = json.loads(text).get("_name_or_path", "")
    return _build(config)


def describe_network(network: PreTrainedModel) -> str:
    """Returns the network's configuration as JSON, for a checkpoint."""
    return network.config.to_json_string(use_diff=False)


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
    answers = batch["answers"]
    count = len(batch["targets"]) if question_weight else answers
    loss_weights = None
    if question_weight:
        loss_weights = torch.ones(count, device=batch["targets"].device)
        loss_weights[answers:] = question_weight
    total, nll = _compute_targets(network, batch, count, loss_weights)
    return total, nll[:answers]


@torch.inference_mode()
def compute_token_nll(network: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
    """Computes the negative log-likelihood of each target of a batch, `[targets]`, float32, in nats.

    Args:
        network: See `compute_nll`.
        batch: With `input_ids`, `position_ids`, `boundaries`, `offsets`, `predict_at` and `targets`.
    """
    return _compute_targets(network, batch, len(batch["targets"]), None)[1]


def _compute_targets(
    network: PreTrainedModel, batch: dict[str, Any], count: int, loss_weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The weighted sum and the values of the first `count` targets."""
    hidden = compute_hidden(network, batch)
    predicting = hidden.index_select(0, batch["predict_at"][:count])  # [count, width]
    # If tied, use the embedding's weight: with sharded parameters that module has gathered it in its forward pass.
    tied = getattr(network.config, "tie_word_embeddings", False)
    head: Any = network.get_output_embeddings()
    weight: Any = (network.get_input_embeddings() if tied else head).weight
    rule = get_execution(network).output
    return compute_answer_nll(predicting, weight, batch["targets"][:count], loss_weights, bias=head.bias, rule=rule)


def _build(config: PretrainedConfig) -> PreTrainedModel:
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    return replace_layers(network.train())


def set_attention_dropout(config: PretrainedConfig, probability: float) -> None:
    """Sets the dropout probability of the attention weights in place, where the family has one."""
    for name in _ATTENTION_DROPOUT:
        if hasattr(config, name):
            setattr(config, name, probability)
