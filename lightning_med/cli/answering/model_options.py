"""Options of the verbs that answer with a model: which one, by which engine, and how tokens are chosen."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_med.utils.errors import InputError

if TYPE_CHECKING:
    from lightning_med.cli.parsing.arguments import Parser
    from lightning_med.inference.decoding import Decoding
    from lightning_med.serving.chat_service import ChatService

_DECODING = {
    "max_new_tokens": (int, "longest answer, in tokens"),
    "temperature": (float, "0 for the likeliest answer, above for variety"),
    "top_p": (float, "sample from the likeliest tokens that together have this probability"),
    "min_p": (float, "sample from tokens with at least this share of the likeliest one's probability"),
    "repetition_penalty": (float, "above 1: make words less likely that the answer already has"),
    "no_repeat_ngram_size": (int, "no sequence of this many tokens twice in an answer; 0 for off"),
    "sampling_seed": (int, "of sampled answers"),
}


def add_model_options(parser: Parser) -> None:
    """Adds the model, the engine, the region and the safety switch."""
    add_model_option(parser)
    parser.add_argument(
        "--engine",
        choices=("auto", "transformers", "llama.cpp"),
        default="auto",
        help="what computes the answers; auto: llama.cpp with 8-bit weights where it is installed, knows the network"
        " and there is no GPU, else transformers",
    )
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of the weights, for --engine transformers; auto: bfloat16 where the processor computes with it",
    )
    add_safety_options(parser, "that of the locale")


def add_model_option(parser: Parser) -> None:
    """Adds the model."""
    from lightning_med.serving.responder import MODEL_VARIABLE

    parser.add_argument(
        "--model",
        help=f"folder of an export (default: ${MODEL_VARIABLE}, else the newest export under lightning_logs)",
    )


def add_safety_options(parser: Parser, default: str) -> None:
    """Adds the region and the safety switch.

    Args:
        parser: Of the verb.
        default: The region where neither the option nor the variable names one, for the help.
    """
    parser.add_argument(
        "--region",
        help="country whose emergency numbers the advice names, for instance GB (default: $LIGHTNING_MED_REGION, else"
        f" {default})",
    )
    parser.add_argument("--safety", choices=("on", "off"), default="on", help="off: check neither question nor answer")


def find_model(given: argparse.Namespace) -> Path:
    """Returns the folder of the model that the command names.

    Raises:
        InputError: None is named, and there is no export.
    """
    from lightning_med.serving.responder import MODEL_VARIABLE, find_newest_export

    return Path(given.model or os.environ.get(MODEL_VARIABLE) or find_newest_export())


def add_decoding_options(parser: Parser) -> None:
    """Adds the decoding settings; without them those of the model hold."""
    for name, (kind, text) in _DECODING.items():
        value = "N" if kind is int else "X"
        parser.add_argument(f"--{name}", type=kind, metavar=value, help=f"{text} (default: the model's own setting)")


def check_decoding(given: argparse.Namespace) -> None:
    """Checks the decoding settings of the command, before a model is loaded.

    Raises:
        InputError: One is out of its range.
    """
    if _list_given(given):  # else there is no need to import transformers yet
        from lightning_med.inference.decoding import Decoding

        read_decoding(given, Decoding())


def read_decoding(given: argparse.Namespace, own: Decoding) -> Decoding:
    """Returns the model's decoding settings with those of the command in their place.

    Raises:
        InputError: One is out of its range.
    """
    try:
        return replace(own, **_list_given(given))
    except InputError as error:
        raise InputError(f"--{error.what}", error.hint) from error


def _list_given(given: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(given, name) for name in _DECODING if getattr(given, name) is not None}


def open_service(given: argparse.Namespace, slots: int) -> ChatService:
    """Loads the model that the command names, and starts its engine; says which in one line on standard error.

    Args:
        given: With the options of `add_model_options` and `add_decoding_options`.
        slots: Answers that are written side by side.

    Raises:
        InputError: There is no such model, or the engine cannot write its answers.
    """
    import sys

    from lightning_med.cli.answering.engine_choice import start_engine
    from lightning_med.data.preparation.cache.cache_folder import GGUF, find_cache_root
    from lightning_med.inference.model_folder import open_export
    from lightning_med.serving.chat_service import ChatService, EngineWriter
    from lightning_med.utils.console import show_progress
    from lightning_med.utils.memory.garbage import pause_collection

    folder = find_model(given)
    with pause_collection(), show_progress("model") as progress:
        model = open_export(folder)
        decoding = read_decoding(given, model.decoding)
        engine = start_engine(model, given.engine, given.dtype, slots, find_cache_root(None) / GGUF, progress)
    print(f"{folder}: {engine.backend.name}", file=sys.stderr)
    return ChatService(EngineWriter(engine, model.encoder, decoding), given.region, given.safety == "on")
