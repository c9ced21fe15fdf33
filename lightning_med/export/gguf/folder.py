"""The folder of a GGUF export: the model as one file, for llama.cpp, and a Modelfile for Ollama."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lightning_med.export.gguf.modelfile import GGUF_FILE, MODELFILE, make_modelfile
from lightning_med.export.gguf.network import add_network_settings, choose_architecture, list_tensors, map_names
from lightning_med.export.gguf.tokenizer import add_tokenizer, check_tokenizer
from lightning_med.export.trained_model import TrainedModel
from lightning_med.utils.console import Progress

_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "q8_0": "Q8_0"}
_FILE_TYPES = {"F32": "ALL_F32", "F16": "MOSTLY_F16", "BF16": "MOSTLY_BF16", "Q8_0": "MOSTLY_Q8_0"}
_EXACT = (
    "position_embd.weight",
    "rope_freqs.weight",
)  # matrices and vectors that llama.cpp adds or multiplies as float32


def check_gguf(model: TrainedModel) -> None:
    """Checks, before anything is written, that a GGUF file can hold a model.

    Raises:
        InputError: llama.cpp has no such network, or no such tokenizer.
    """
    choose_architecture(model.network.config)
    map_names(model.network)
    embeddings: Any = model.network.get_input_embeddings()
    check_tokenizer(model.tokenizer, len(embeddings.weight))


def write_gguf_folder(model: TrainedModel, folder: Path, weight_type: str, progress: Progress) -> None:
    """Writes a model and its Modelfile into an empty folder.

    Args:
        model: What to write.
        folder: Empty.
        weight_type: See `write_gguf`.
        progress: Is told what is being done.
    """
    write_gguf(model, folder / GGUF_FILE, weight_type, progress)
    stops = [str(model.tokenizer.convert_ids_to_tokens(token)) for token in model.stops]
    text = make_modelfile(GGUF_FILE, model.prompt, stops, model.decoding, model.context)
    (folder / MODELFILE).write_text(text, encoding="utf-8", newline="\n")


def write_gguf(model: TrainedModel, path: Path, weight_type: str, progress: Progress) -> None:
    """Writes a model's weights, settings and tokenizer.

    Matrices get the type, vectors (norms, biases) stay float32, as llama.cpp's converter has it. Tensors are written
    one after the other, so that one at a time is in memory twice.

    Args:
        model: What to write.
        path: Of the file; it does not exist.
        weight_type: `float32`, `float16`, `bfloat16` or `q8_0`.
        progress: Is told how many tensors are written.

    Raises:
        InputError: As `check_gguf` does, before the file is opened.
    """
    from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType

    config: Any = model.network.config
    kind = _TYPES[weight_type]
    writer = GGUFWriter(path, choose_architecture(config))
    embeddings: Any = model.network.get_input_embeddings()
    rows = len(embeddings.weight)
    writer.add_name(f"lightning_med {config.model_type}")
    writer.add_description("For research and education only. Not a medical device, not for clinical use.")
    writer.add_file_type(LlamaFileType[_FILE_TYPES[kind]])
    writer.add_quantization_version(2)
    add_network_settings(writer, config, rows)
    add_tokenizer(writer, model.tokenizer, model.stops, rows)
    tensors = [(name, weight, _choose_type(name, weight, kind)) for name, weight in list_tensors(model.network)]
    for name, weight, chosen in tensors:
        shape, count = _measure(weight, chosen)
        raw = GGMLQuantizationType[chosen]
        writer.add_tensor_info(
            name, shape, np.dtype(np.uint8 if chosen in ("BF16", "Q8_0") else np.float32), count, raw
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for number, (_, weight, chosen) in enumerate(tensors):
        progress("weights", number, len(tensors))
        writer.write_tensor_data(_convert(weight, chosen))
    writer.close()


def _choose_type(name: str, weight: Tensor, kind: str) -> str:
    """Rows that do not fill the blocks of q8_0, 32 weights each, become float16, as in llama.cpp's converter."""
    if weight.ndim < 2 or name in _EXACT:
        return "F32"
    return "F16" if kind == "Q8_0" and weight.shape[-1] % 32 else kind


def _measure(weight: Tensor, kind: str) -> tuple[tuple[int, ...], int]:
    """Returns the shape of a tensor, in bytes where a row is bytes, and its size in bytes."""
    from gguf import GGMLQuantizationType, quant_shape_to_byte_shape

    shape = tuple(weight.shape)
    in_bytes = quant_shape_to_byte_shape(shape, GGMLQuantizationType[kind])
    return (in_bytes if kind in ("BF16", "Q8_0") else shape), int(np.prod(in_bytes))


def _convert(weight: Tensor, kind: str) -> np.ndarray[Any, Any]:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    values = np.ascontiguousarray(weight.detach().float().numpy())
    return quantize(values, GGMLQuantizationType[kind])
