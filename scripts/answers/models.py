"""Models that answer: exports of ours, and untuned bases with their own chat template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lightning_med.checkpoints.export_folder import SETTINGS
from lightning_med.inference.decoding import Decoding
from lightning_med.inference.generation import GeneratedAnswer, generate_with_ends
from lightning_med.model.weight_files import load_weights
from lightning_med.serving.responder import Responder
from lightning_med.tokenization.encoder import Encoder
from lightning_med.tokenization.prompt_choice import choose_prompt
from lightning_med.tokenization.prompts import SYSTEM_PROMPT
from lightning_med.tokenization.tokenizer import load_tokenizer, store_tokenizer
from lightning_med.utils.errors import InputError, describe_error

_MAX_LENGTH = 1024  # of a base's prompt and answer; its own context is the limit of generation
Settings = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A network with its prompt and its own decoding settings."""

    name: str
    network: PreTrainedModel
    encoder: Encoder
    decoding: Decoding


def name_folders(texts: list[str]) -> dict[str, Path]:
    """Returns the folders of `--model [NAME=]FOLDER`, repeated, by name; one without a name has that of its folder.

    Raises:
        InputError: Two have the same name.
    """
    folders = dict(_split_name(text) for text in texts)
    if len(folders) < len(texts):
        raise InputError("Two models have the same name.", "Name them: --model NAME=FOLDER")
    return folders


def _split_name(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    return (name, Path(folder)) if equals and not Path(text).exists() else (Path(text).resolve().name, Path(text))


def check_folder(folder: Path) -> None:
    """Checks that a folder holds a model.

    Raises:
        InputError: It does not.
    """
    if not (folder / "config.json").is_file():
        raise InputError(f"--model {folder} is no folder of a model.", "Name an export, or a base's folder.")


def load_model(name: str, folder: Path) -> Model:
    """Loads an export, or a base with its own chat template and our system prompt, on the GPU if there is one.

    Raises:
        InputError: The folder is neither.
    """
    if (folder / SETTINGS).is_file():
        responder = Responder.from_pretrained(folder, safety=False)
        return Model(name, responder.network, responder.encoder, responder.decoding)
    check_folder(folder)
    tokenizer = load_tokenizer(str(folder))
    prompt = choose_prompt(None, SYSTEM_PROMPT, store_tokenizer(tokenizer))
    try:
        network: Any = load_weights(folder, str(folder), dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"--model {folder}: {describe_error(error)}", "Get its files again.") from error
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return Model(name, network.to(device or "cpu").eval(), Encoder(tokenizer, prompt, _MAX_LENGTH), Decoding())


def change_decoding(decoding: Decoding, settings: Settings) -> Decoding:
    """Returns decoding settings with some of them changed.

    Raises:
        InputError: There is no such setting, or its value is out of range.
    """
    names = [field.name for field in fields(Decoding)]
    if unknown := [name for name in settings if name not in names]:
        raise InputError(f"--decoding: there is no setting {unknown[0]!r}.", f"There are: {', '.join(names)}.")
    try:
        return replace(decoding, **settings)
    except TypeError as error:
        raise InputError(f"--decoding {settings}: a value is no number.", "For instance {temperature: 0.7}") from error


def answer_questions(
    model: Model, decoding: Decoding, questions: list[str], batch_size: int, progress: Callable[[int, int], None]
) -> list[GeneratedAnswer]:
    """Answers questions in batches of equal length, as far as there are such, and returns them in their own order.

    Args:
        model: The model.
        decoding: Instead of the model's own.
        questions: Any number.
        batch_size: Questions that are answered together.
        progress: Is told how many are answered, of how many.
    """
    order = sorted(range(len(questions)), key=lambda number: (len(questions[number]), number))
    answers: dict[int, GeneratedAnswer] = {}
    for start in range(0, len(order), batch_size):
        progress(start, len(order))
        numbers = order[start : start + batch_size]
        batch = [questions[number] for number in numbers]
        with torch.inference_mode():
            results = generate_with_ends(model.network, model.encoder, batch, decoding)
        answers.update(zip(numbers, results, strict=True))
    return [answers[number] for number in range(len(questions))]
