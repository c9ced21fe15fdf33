"""Export of a checkpoint to a Hugging Face folder: safetensors, tokenizer with chat template, settings, model card."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from lightning_med.checkpoints.export_folder import SETTINGS
from lightning_med.utils.console import Progress, show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import make_temporary_folder


def export_checkpoint(checkpoint: str | Path, output: str | Path, overwrite: bool = False) -> Path:
    """Writes a checkpoint's model as a folder that transformers loads, atomically.

    Args:
        checkpoint: The file; it carries tokenizer, prompt and settings.
        output: The folder to make.
        overwrite: Replace an earlier export; otherwise that is an error.

    Returns:
        `output`.

    Raises:
        InputError: The checkpoint is none of ours, or `output` exists.
    """
    from lightning_med.checkpoints.reading import read_checkpoint

    output = Path(output)
    output = output.resolve() if output.is_symlink() else output  # of a link the target is replaced
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists.", "Name another --output, or add --overwrite to replace it.")
    if output.is_file():
        raise InputError(f"{output} is a file, so it is not replaced.", "Name another --output.")
    if output.exists() and any(output.iterdir()) and not (output / SETTINGS).is_file():
        raise InputError(f"{output} is not an export of ours, so it is not replaced.", "Name another --output.")
    content = read_checkpoint(checkpoint)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = make_temporary_folder(output)
    except OSError as error:
        raise InputError(f"{output.parent} cannot be written: {error.strerror}.", "Name another --output.") from error
    try:
        with show_progress("Exporting") as progress:
            _write_folder(content, temporary, Path(checkpoint).name, progress)
        for file in temporary.iterdir():  # safetensors makes its own private
            file.chmod(0o666 & temporary.stat().st_mode)
        _move_into_place(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return output


def _move_into_place(temporary: Path, output: Path) -> None:
    """Renames the new folder; an older one is set aside first and removed only when the new one is in place."""
    if not output.exists():
        os.replace(temporary, output)
        return
    aside = make_temporary_folder(output)
    aside.rmdir()  # its name is free: Windows renames to no folder that exists
    os.replace(output, aside)
    try:
        os.replace(temporary, output)
    except BaseException:
        os.replace(aside, output)
        raise
    shutil.rmtree(aside)


def _write_folder(content: dict[str, Any], folder: Path, name: str, progress: Progress) -> None:
    from transformers.utils import logging

    from lightning_med.checkpoints.reading import FORMAT, read_card
    from lightning_med.export.exported_tokenizer import make_exported_tokenizer
    from lightning_med.export.model_card import make_model_card
    from lightning_med.inference.generation import Decoding
    from lightning_med.model.causal_lm import build_from_text
    from lightning_med.model.execution import get_context_length
    from lightning_med.tokenization.encoder import Encoder
    from lightning_med.tokenization.prompts import read_prompt

    logging.disable_progress_bar()
    card = read_card(content)
    progress("weights", 0, 0)
    network = build_from_text(card["network"])
    network.load_state_dict({key.removeprefix("model."): value for key, value in content["state_dict"].items()})
    settings = card["settings"].get("model", {})
    decoding = Decoding(**{key: settings[key] for key in Decoding.__annotations__ if key in settings})
    prompt = read_prompt(card)
    tokenizer = make_exported_tokenizer(card["tokenizer"], prompt)
    tokenizer.model_max_length = get_context_length(network)
    stops = Encoder(tokenizer, prompt, card["max_length"]).stops
    network.generation_config = decoding.make_generation_config(tokenizer, stops)
    network.save_pretrained(folder)
    progress("tokenizer and card", 0, 0)
    tokenizer.save_pretrained(folder)
    own = {"format": FORMAT, "system_prompt": prompt.system, "prompt": json.loads(prompt.to_json())}
    own |= {"max_length": card["max_length"], "decoding": vars(decoding)}
    (folder / SETTINGS).write_text(json.dumps(own, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(make_model_card(card, int(content["global_step"]), name), encoding="utf-8")
