"""Which engine writes the answers of an exported model, and its start."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_med.inference.engines.scheduler import LENGTH, Engine
from lightning_med.utils.errors import InputError

if TYPE_CHECKING:
    from lightning_med.inference.model_folder import ModelFolder
    from lightning_med.utils.console import Progress

_EXTRA = 'pip install "lightning-med[llama]"'


def start_engine(model: ModelFolder, kind: str, dtype: str, slots: int, cache: Path, progress: Progress) -> Engine:
    """Loads a model and starts its engine.

    Args:
        model: The folder.
        kind: `transformers`, `llama.cpp`, or `auto`: llama.cpp where it is installed, knows the network and there is
            no GPU.
        dtype: Of transformers: `float32`, `bfloat16`, or `auto`: bfloat16 on a GPU, and where the processor computes
            with it.
        slots: Answers that are written side by side.
        cache: Folder for the GGUF file that is made of the weights for llama.cpp.
        progress: Is told what is being done.

    Raises:
        InputError: llama.cpp is asked for, and is not installed or does not know the network; or the network's layers
            do not all look at the whole text.
    """
    from lightning_med.inference.model_folder import choose_device

    fault = find_llama_fault(model)
    if kind == "llama.cpp" and fault:
        raise InputError(f"--engine llama.cpp: {fault}", "Choose --engine transformers.")
    if kind == "llama.cpp" and dtype != "auto":
        raise InputError(f"--dtype {dtype}: llama.cpp reads 8-bit weights.", "Choose --engine transformers for it.")
    kinds = read_layer_kinds(model)
    if kinds != {"full_attention"}:
        raise InputError(
            f"{model.folder} has layers of the kind {', '.join(sorted(kinds))}: this server does not serve it.",
            "Serve it with vLLM or transformers serve, and put the safety rules before it: serve --upstream URL",
        )
    if kind == "llama.cpp" or ((kind, dtype) == ("auto", "auto") and not fault and choose_device().type == "cpu"):
        return _start_llama(model, slots, cache, progress)
    return _start_transformers(model, dtype, slots)


def find_llama_fault(model: ModelFolder) -> str | None:
    """Returns why llama.cpp cannot write a model's answers, or `None`."""
    from lightning_med.export.gguf.network import choose_architecture
    from lightning_med.model.weight_files import read_config

    if importlib.util.find_spec("llama_cpp") is None:
        return f"llama-cpp-python is not installed ({_EXTRA})."
    try:
        choose_architecture(read_config(model.folder))
    except InputError as error:
        return error.what
    return None


def read_layer_kinds(model: ModelFolder) -> set[str]:
    """Returns the kinds of a network's layers, as its configuration names them."""
    from lightning_med.model.weight_files import read_config

    config = read_config(model.folder).get_text_config()
    return set(getattr(config, "layer_types", None) or ["full_attention"])


def _start_transformers(model: ModelFolder, dtype: str, slots: int) -> Engine:
    import torch

    from lightning_med.inference.engines.torch_backend import TorchBackend
    from lightning_med.inference.model_folder import choose_device
    from lightning_med.utils.precision import has_cpu_bf16

    if dtype == "auto":
        dtype = "bfloat16" if choose_device().type != "cpu" or has_cpu_bf16() else "float32"
    return Engine(lambda: TorchBackend(model.load_network(getattr(torch, dtype)), slots, LENGTH), model.encoder)


def _start_llama(model: ModelFolder, slots: int, cache: Path, progress: Progress) -> Engine:
    from lightning_med.export.gguf.cached_file import make_gguf
    from lightning_med.inference.engines.llama_backend import LlamaBackend

    return Engine(lambda: LlamaBackend(make_gguf(model, cache, progress), slots, LENGTH), model.encoder)
