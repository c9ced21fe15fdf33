"""The Hugging Face folder of a model: safetensors, tokenizer with chat template, settings."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_med.checkpoints.export_folder import SETTINGS
from lightning_med.checkpoints.reading import FORMAT
from lightning_med.export.trained_model import TrainedModel
from lightning_med.export.transformers4_names import add_transformers4_names
from lightning_med.export.weight_types import TORCH_TYPES
from lightning_med.utils.console import Progress
from lightning_med.utils.errors import InputError
from lightning_med.version import __version__

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

_PROBE = "It's 12345 days,\n\nI AM'LL  e\u0301 \u2026 \u4e2d\u6587?\n- a\tb"  # what tokenizers split in different ways


def write_hf_folder(model: TrainedModel, folder: Path, weight_type: str, progress: Progress) -> None:
    """Writes a model into an empty folder, for transformers 4 and 5 and for `lightning_med.Responder`.

    Args:
        model: What to write; `check_reloading` has accepted its tokenizer. Its network is cast in place.
        folder: Empty.
        weight_type: `float32`, `float16` or `bfloat16`.
        progress: Is told what is being done.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    progress("weights", 0, 0)
    network: Any = model.network
    tokenizer = model.tokenizer
    network.to(TORCH_TYPES[weight_type])
    network.generation_config = model.decoding.make_generation_config(tokenizer, model.stops)
    network.save_pretrained(folder)
    progress("tokenizer", 0, 0)
    tokenizer.save_pretrained(folder)
    add_transformers4_names(folder, network.config)
    write_settings(model, folder)


def write_settings(model: TrainedModel, folder: Path, **more: Any) -> None:
    """Writes the file of ours: prompt and decoding of the training, what it was made from, and `more`."""
    own = {"format": FORMAT, "system_prompt": model.prompt.system, "prompt": json.loads(model.prompt.to_json())}
    own |= {"max_length": model.card["max_length"], "decoding": vars(model.decoding), **more}
    settings = model.card["settings"].get("model", {})
    own |= {"base": None if settings.get("from_scratch") else settings.get("base"), "step": model.steps}
    own |= {"checkpoint": model.checkpoint, "checkpoint_digest": model.checkpoint_digest}
    own |= {"data_fingerprint": model.card["data"]["fingerprint"], "lightning_med_version": __version__}
    (folder / SETTINGS).write_text(json.dumps(own, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def check_reloading(tokenizer: PreTrainedTokenizerFast, config: PretrainedConfig | None) -> None:
    """Checks, before anything is written, that transformers loads the tokenizer of the training from an export.

    transformers 5 replaces that of some families (Qwen2) by its own, whatever the folder holds.

    Args:
        tokenizer: Of the export.
        config: Of the network in the folder; an adapter's folder has none.

    Raises:
        InputError: It would load another one.
    """
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_pretrained(folder)
        if config is not None:
            config.save_pretrained(folder)
        add_transformers4_names(folder, config)
        loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if loaded(_PROBE)["input_ids"] != tokenizer(_PROBE)["input_ids"]:
        kind = type(loaded).__name__
        raise InputError(
            f"transformers would load its own {kind} for this network, not the tokenizer of the training.",
            "Train the network with a tokenizer of its family, or export it as --format gguf.",
        )
