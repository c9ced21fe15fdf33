"""Models that answer: exports of ours, and untuned bases with their own chat template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lightning_med.inference.decoding import Decoding
from lightning_med.inference.generation import GeneratedAnswer, generate_with_ends
from lightning_med.inference.model_folder import open_model
from lightning_med.tokenization.encoder import Encoder
from lightning_med.utils.errors import InputError

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


def load_model(name: str, folder: Path) -> Model:
    """Loads an export, or a base with its own chat template and our system prompt, on the GPU if there is one.

    Raises:
        InputError: The folder is neither.
    """
    opened = open_model(folder)
    network = opened.load_network(None if opened.settings else torch.float32)
    return Model(name, network, opened.encoder, opened.decoding)


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
