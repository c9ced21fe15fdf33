"""Conversion of a GGUF file to a Hugging Face folder in float32."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from lightning_med.cli.bases.gguf_header import Header, check_header, read_header
from lightning_med.cli.bases.gguf_tokenizer import repair_tokenizer
from lightning_med.cli.bases.manifest import write_manifest
from lightning_med.export.transformers4_names import add_transformers4_names
from lightning_med.utils.console import Progress
from lightning_med.utils.errors import InputError, RunError, describe_error
from lightning_med.utils.files import check_space, make_temporary_folder, refuse_pointer, sync_files

_OTHER = "Get the model as a folder with config.json and safetensors, or another of its GGUF files."


def convert_gguf(
    path: Path,
    output: Path,
    card: str,
    progress: Progress,
    license_file: Path | None = None,
    origin: str | None = None,
) -> int:
    """Writes a GGUF file's model as a folder that transformers loads, atomically, and returns its number of weights.

    Args:
        path: The file.
        output: The folder to make; its parent exists.
        card: Text of the folder's `README.md`; `{name}`, `{license}` and `{file}` in it are filled in.
        progress: Is told what is being done.
        license_file: Copied into the folder as `LICENSE`.
        origin: What the folder's manifest says that it is made of; default: the file's name.

    Raises:
        InputError: transformers cannot read the file, or would leave something of it out.
        RunError: The folder cannot be written, for instance because the disk is full.
    """
    progress("reading the file", 0, 0)
    if path.is_file():
        refuse_pointer(path)
    header = read_header(path)
    check_header(header, path)
    with _explain_errors(path):
        progress("tokenizer", 0, 0)
        tokenizer = repair_tokenizer(AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name), header)
        progress("weights", 0, 0)
        network = _load_network(path)
    tokenizer.model_max_length = network.config.max_position_embeddings
    progress("writing the folder", 0, 0)
    check_space(output, network.num_parameters() * torch.float32.itemsize)
    with _make_folder(output) as temporary:
        _write_model(temporary, network, tokenizer)
        (temporary / "README.md").write_text(_fill_card(card, header, path), encoding="utf-8")
        if license_file is not None:
            shutil.copyfile(license_file, temporary / "LICENSE")
        for file in temporary.iterdir():  # safetensors makes its own private
            file.chmod(0o666 & temporary.stat().st_mode)
        write_manifest(temporary, origin or path.name)
        sync_files(temporary)
    return network.num_parameters()


@contextmanager
def _make_folder(output: Path) -> Iterator[Path]:
    """Makes a temporary folder that becomes `output` at the end, or is removed on an error."""
    temporary = None
    try:
        temporary = make_temporary_folder(output)
        yield temporary
        os.rename(temporary, output)
    except (OSError, SafetensorError) as error:
        hint = "Name another folder: --output DIR"
        if output.exists():
            raise RunError(f"{output} exists now: something else has made it meanwhile.", hint) from error
        raise RunError(f"{output} cannot be written: {describe_error(error)}.", hint) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _fill_card(card: str, header: Header, path: Path) -> str:
    license_name = header.get("general.license") or "not named in the file"
    return card.format(name=header.get("general.name") or path.stem, license=license_name, file=path.name)


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    """Turns what transformers raises for a file that it cannot read into two lines."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError) as error:
        reason = describe_error(error)
        raise InputError(f"{path}: transformers cannot read it: {reason}", _OTHER) from error


def _write_model(folder: Path, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    network.generation_config = GenerationConfig(**special)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    add_transformers4_names(folder, network.config)


def _load_network(path: Path) -> PreTrainedModel:
    """Loads the weights, and copies them into a network that does not count as quantized, which could not be saved."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, output_loading_info=True
    )
    network, info = loaded
    if unknown := sorted({*info["missing_keys"], *info["unexpected_keys"]}):
        raise InputError(f"{path}: {len(unknown)} weights have no counterpart, for instance {unknown[0]}.", _OTHER)
    config = network.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    for name, value in list(vars(config).items()):
        setattr(config, name, _shorten(value))
    if isinstance(getattr(config, "rope_parameters", None), dict):
        config.rope_parameters = {name: _shorten(value) for name, value in config.rope_parameters.items()}
    config.name_or_path = ""
    copy: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    copy.load_state_dict(network.state_dict())
    return copy


def _shorten(value: Any) -> Any:
    """Returns the shortest decimal number that is the same in float32, the precision of numbers in GGUF files."""
    return float(str(np.float32(value))) if isinstance(value, float) and np.float32(value) == value else value
