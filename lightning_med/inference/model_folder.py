"""A folder with a model that answers: an export of ours, or any other decoder with its own chat template."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from lightning_med.checkpoints.export_folder import SETTINGS
from lightning_med.inference.decoding import Decoding
from lightning_med.model.execution import read_context_length
from lightning_med.model.weight_files import check_config, check_files, load_weights, read_config
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompt_choice import choose_prompt
from lightning_med.tokenization.prompts import SYSTEM_PROMPT, read_prompt
from lightning_med.tokenization.tokenizer import load_tokenizer, store_tokenizer
from lightning_med.utils.errors import InputError, describe_error
from lightning_med.utils.files import refuse_pointer

MAX_LENGTH = 1024  # tokens of a foreign model's prompt and answer; its own context is the limit of generation
_EXPORT = "Make one: lightning-med export --checkpoint RUN/checkpoints/last.ckpt --output RUN/export"


@dataclass(frozen=True)
class ModelFolder:
    """A model whose weights are not loaded yet.

    Attributes:
        folder: Where it is.
        encoder: With its prompt and tokenizer.
        decoding: Its own settings.
        settings: The content of its `lightning_med.json`; empty for a foreign model.
    """

    folder: Path
    encoder: Encoder
    decoding: Decoding
    settings: dict[str, Any] = field(default_factory=dict)

    def load_network(self, dtype: torch.dtype | None = None) -> PreTrainedModel:
        """Loads the network in evaluation mode, on the GPU if there is one.

        Args:
            dtype: Of the weights; default: as they are stored.

        Raises:
            InputError: Its files are incomplete.
        """
        logging.disable_progress_bar()  # who loads shows a bar, or has no time to read one
        options = {} if dtype is None else {"dtype": dtype}
        try:
            network: Any = load_weights(self.folder, str(self.folder), **options)
        except (OSError, ValueError, SafetensorError) as error:
            what = f"{self.folder} is not a complete {'export' if self.settings else 'model'}: {describe_error(error)}"
            raise InputError(what, _EXPORT if self.settings else "Get its files again.") from error
        return network.to(choose_device()).eval()  # type: ignore[no-any-return]

    @cached_property
    def context(self) -> int:
        """Tokens of a prompt and its answer together at most."""
        return read_context_length(read_config(self.folder))

    def compute_text_digests(self) -> dict[str, str]:
        """Returns the SHA-256 of the prompt, and of what gives the tokenizer's ids, in hexadecimal.

        A chat template, which an export replaces, and settings of offsets and padding change no id of a text.
        """
        backend = json.loads(self.encoder.tokenizer.backend_tokenizer.to_str())
        for name in ("post_processor", "padding", "truncation", "decoder"):
            backend.pop(name, None)
        ids = json.dumps([backend, self.encoder.tokenizer.eos_token_id], sort_keys=True)
        texts = {"prompt": self.encoder.prompt.to_json(), "tokenizer": ids}
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


def choose_device() -> torch.device:
    """Returns the GPU if there is one, else the CPU."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return device or torch.device("cpu")


def open_model(folder: str | Path, system_prompt: str = SYSTEM_PROMPT, option: str = "--model") -> ModelFolder:
    """Opens an export, or a foreign model with its own chat template where it has one.

    Args:
        folder: Of the model.
        system_prompt: Of a foreign model; an export has its own.
        option: That names the folder, for messages.

    Raises:
        InputError: The folder holds no decoder in safetensors with a tokenizer.
    """
    folder = Path(folder)
    if is_export(folder):
        return open_export(folder)
    if not (folder / "config.json").is_file():
        raise InputError(f"{option} {folder} is no folder of a model.", _explain_path(folder))
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        refuse_pointer(file)
    check_files(folder, str(folder))
    try:
        check_config(read_config(folder), str(folder))
    except (OSError, ValueError) as error:
        raise InputError(f"{option} {folder}: {describe_error(error)}", "Get its files again.") from error
    tokenizer = load_tokenizer(str(folder))
    prompt = choose_prompt(None, system_prompt, store_tokenizer(tokenizer))
    return ModelFolder(folder, Encoder(tokenizer, prompt, MAX_LENGTH), Decoding())


def _explain_path(path: Path) -> str:
    """Returns what to name instead of a path that is no folder of a model."""
    if path.suffix == ".ckpt":
        return f"A checkpoint is exported first: lightning-med export --checkpoint {path} --output DIR"
    if path.suffix == ".gguf" or any(path.glob("*.gguf")):
        return "A GGUF file is for other programs: name the export in the format hf."
    if (path / "adapter_config.json").is_file():
        return "It is an adapter: export the run again without --adapter."
    if (path / "checkpoints").is_dir():
        return f"It is a run: name an export of it, for instance {path / 'export'}."
    return "Name an export, or a base's folder."


def is_export(folder: str | Path) -> bool:
    """Returns whether a folder is an export of ours."""
    return (Path(folder) / SETTINGS).is_file()


def open_export(folder: Path) -> ModelFolder:
    """Opens an export of ours.

    Raises:
        InputError: The folder is not an export, or an incomplete one (Git LFS pointers), or an adapter alone.
    """
    if not is_export(folder):
        own = folder / "export"
        hint = f"It is a run: name its export, {own}." if is_export(own) else _EXPORT
        raise InputError(f"{folder} is not an exported model: it has no {SETTINGS}.", hint)
    if (folder / "adapter_config.json").is_file():
        raise InputError(f"{folder} is an adapter without its base.", "Export the run again without --adapter.")
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        refuse_pointer(file)
    check_files(folder, str(folder))
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        decoding = Decoding(**settings["decoding"])
        encoder = Encoder(tokenizer, read_prompt(settings, str(folder)), settings["max_length"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} is not a complete export: {describe_error(error)}", _EXPORT) from error
    return ModelFolder(folder, encoder, decoding, settings)
