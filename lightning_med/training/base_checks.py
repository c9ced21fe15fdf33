"""Checks of a base in a folder from its files alone, before data are prepared or weights are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from lightning_med.model.adaptation import Adaptation
from lightning_med.model.adapter import find_whole_layers
from lightning_med.model.causal_lm import BUILD_ERRORS, open_base
from lightning_med.model.frozen_weights import check_machine
from lightning_med.tokenization.tokenizer import has_tokenizer, load_tokenizer
from lightning_med.training.batch_size import MOMENTS, count_trained, measure_free_memory
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError, UnavailableError

_BYTES = {None: 4.0, "bf16": 2.0, "nf4": 0.6}  # of a frozen weight, by `base_dtype`
_TRAINED = 4 + 4 + MOMENTS  # bytes of a trained weight: itself, its gradient, AdamW's averages


def check_base(base: str, tokenizer: str) -> None:
    """Refuses a base in a folder that cannot be trained, as far as its files show it before anything is loaded.

    Args:
        base: A name on the Hub is not looked at.
        tokenizer: Name or folder of the data's tokenizer, or `train`.

    Raises:
        InputError: The base is no decoder, is quantized or a pointer, or its tokenizer is another one.
    """
    if not Path(base).exists():
        return
    folder, _ = open_base(base)
    if not has_tokenizer(folder) or Path(tokenizer).resolve() == folder.resolve():
        return
    if tokenizer == "train":
        raise InputError(f"A trained tokenizer is not that of the base {base}.", name_own_tokenizer(base))
    try:
        ours = load_tokenizer(tokenizer)
    except UnavailableError as error:  # most often the default one, where none was named
        raise UnavailableError(error.what, name_own_tokenizer(base)) from error
    compare_tokens(base, load_tokenizer(base).get_vocab(), ours.get_vocab())


def name_own_tokenizer(base: str) -> str:
    """Returns the hint that names the base's own tokenizer."""
    return f"Use the base's own tokenizer: --data.tokenizer {base}"


def compare_tokens(base: str, theirs: dict[str, int], ours: dict[str, int]) -> None:
    """Refuses a tokenizer that gives a token another number than the base's own does.

    Args:
        base: For the message.
        theirs, ours: Numbers of the tokens, of the base's tokenizer and of the data's.

    Raises:
        InputError: One token has another number.
    """
    other = [token for token, number in ours.items() if theirs.get(token) != number]
    if other:
        what = f"The tokenizer is not that of the base {base}: {len(other)} of {len(ours)} tokens have another number."
        raise InputError(what, name_own_tokenizer(base))


def check_trainer(adaptation: Adaptation, sharded: bool, precision: str) -> None:
    """Checks that a trainer can train what the settings say.

    Args:
        adaptation: What is trained, and how.
        sharded: Whether ranks share the weights.
        precision: Of the trainer, as it is on this machine.

    Raises:
        InputError: Its strategy or its precision cannot.
    """
    partly = adaptation.lora or adaptation.freeze
    if partly and sharded:
        raise InputError(
            "--trainer.strategy sharded: all weights are trained, without lora and freeze.",
            "Use --trainer.strategy ddp: an adapter's gradients are small.",
        )
    check_machine(adaptation.base_dtype)
    if adaptation.base_dtype and not precision.endswith("-mixed"):
        raise InputError(
            f"--model.base_dtype {adaptation.base_dtype} needs mixed precision, and this is {precision}.",
            "Give --trainer.precision bf16-mixed, or leave --model.base_dtype out.",
        )


def check_training(model: Any, on_cpu: bool, added: Sequence[str] = ()) -> None:
    """Checks what is to be trained of a base in a folder, and says so if its weights will not fit into memory.

    Args:
        model: The settings of `DialogueLM`.
        on_cpu: Whether the training is on a CPU.
        added: Tokens that are added to the base's.

    Raises:
        InputError: A name of the settings matches nothing in the base, or the base or this machine lacks something.
    """
    adaptation = Adaptation.read(model)
    if not Path(model["base"]).exists():
        return  # a name on the Hub: checked when it is loaded
    network = _outline(model["base"])
    if network is None:
        return
    adaptation.check(network, added)
    if on_cpu or torch.cuda.is_available():
        _say_memory(model["base"], network, adaptation, torch.device("cpu" if on_cpu else "cuda"))


def _outline(base: str) -> PreTrainedModel | None:
    """Returns the network of a base without memory for its weights; `None` where it cannot be built so."""
    _, config = open_base(base)
    try:
        with torch.device("meta"):
            network: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except BUILD_ERRORS:  # loading it says why
        return None
    return network


def _say_memory(base: str, network: PreTrainedModel, adaptation: Adaptation, device: torch.device) -> None:
    if adaptation.lora:
        network.requires_grad_(False)
        for layer in find_whole_layers(network, adaptation.lora):
            layer.requires_grad_(True)
    weights, trained = network.num_parameters(), count_trained(network)
    needed = _TRAINED * trained + _BYTES[adaptation.base_dtype] * (weights - trained)
    free = measure_free_memory(device)
    if needed <= free:
        return
    less = ""
    if not adaptation.base_dtype:
        option = "--model.base_dtype bf16" if adaptation.lora else "--model.lora '{r: 16}' --model.base_dtype bf16"
        less = f"; {option} needs {_BYTES['bf16'] * weights / 2**30:.1f} GiB"
    say(
        f"{base} will not fit: its weights and what trains them need {needed / 2**30:.1f} GiB beside the batches, and"
        f" {free / 2**30:.1f} GiB are free{less}."
    )
