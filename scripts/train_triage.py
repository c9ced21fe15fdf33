"""Tunes the classifier of triage on real letters and on the repository's written messages.

    python scripts/train_triage.py --encoder all-MiniLM-L6-v2 --letters FOLDER [--output FOLDER]

The letters are public forums' consultations, which are no part of this project; `scripts/triage/letters` names those
that were read, with their labels. Language models in the roles of many people wrote the other messages; they are no
one's real words. Letters of the part `test` are left out. Cross-validation over the others sets the scale of the
probabilities and leaves its own for the choice of costs. With two cores it takes half an hour.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from triage.calibration import FOLDS, calibrate, deal_folds
from triage.classifier_export import compute_exported_scores, describe_classifier, export_classifier
from triage.encoder_training import Examples, Recipe, average, encode, tune
from triage.examples import FOLDER, get_set_name, list_rule_examples, load_rows
from triage.letters import CROSS_VALIDATED, Letter, load_letters

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL, ORDINARY, URGENT
from lightning_med.safety.messages.danger_rules import load_rulebook
from lightning_med.safety.messages.encoder.calibration import compute_probabilities
from lightning_med.safety.messages.encoder.classifier import PATH, TOKENIZER_PATH, WINDOW
from lightning_med.safety.messages.normalization import normalize
from lightning_med.utils.console import Progress, print_progress, say, show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_atomically, write_text
from lightning_med.utils.memory.allocator import keep_freed_memory

# In the loss. Two fifths of the written messages are dangers, of letters one in twenty: weighed alike, short everyday
# questions, whose form is that of the written messages, would alarm too often.
LETTER_WEIGHT, WRITTEN_WEIGHT, WRITTEN_DANGER_WEIGHT = 5.0, 1.0, 0.5
DANGEROUS_LETTER_WEIGHT = 15.0  # one letter in twenty
# There are few everyday questions, and most messages to a program are of their kind; of letters that were written for
# the purpose, in the style of forums, there are few too.
SET_WEIGHTS = {"everyday": 3.0, "forum": 3.0, "denials": 3.0}


def list_classes() -> dict[str, str]:
    """Returns the level of each class, the classes in order."""
    categories = load_rulebook().categories.values()
    return {ORDINARY: ORDINARY, URGENT: URGENT, **{category.name: category.level for category in categories}}


def mark_allowed(level: str, category: str, classes: dict[str, str]) -> np.ndarray:
    """Returns which classes are right for a message, `[classes]`; without a category, all of its level.

    Raises:
        InputError: The rules do not know the category.
    """
    if level in (ORDINARY, URGENT) or not category:
        return np.array([level == other for other in classes.values()])
    if category not in classes:
        raise InputError(f"There is no category {category!r}.", f"There are {', '.join(classes)}.")
    return np.array([category == name for name in classes])


def load_tokenizer(folder: Path, longest: int | None = None) -> Tokenizer:
    """Loads an encoder's tokenizer; text such as "[SEP]" in a message is no control token.

    Raises:
        InputError: The folder has none.
    """
    if not (folder / "tokenizer.json").is_file():
        raise InputError(f"--encoder {folder} is no folder of an encoder.", "Get all-MiniLM-L6-v2 from the Hub.")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if longest:
        tokenizer.enable_truncation(longest)
    tokenizer.encode_special_tokens = True
    return tokenizer


def weigh_row(row: dict[str, Any]) -> float:
    """Returns the weight of a written message in the loss."""
    own = WRITTEN_WEIGHT if row["level"] in (ORDINARY, URGENT) else WRITTEN_DANGER_WEIGHT
    return SET_WEIGHTS.get(get_set_name(row), own)


def join_examples(
    rows: list[dict[str, Any]], letters: list[Letter], tokenizer: Tokenizer, classes: dict[str, str]
) -> Examples:
    """Returns written messages and letters as one training set."""
    texts = [row["text"] for row in rows] + [letter.text for letter in letters]
    allowed = [mark_allowed(row["level"], row["category"], classes) for row in rows]
    allowed += [mark_allowed(letter.level, "", classes) for letter in letters]
    weights = [weigh_row(row) for row in rows]
    weights += [DANGEROUS_LETTER_WEIGHT if letter.level in (EMERGENCY, CRISIS) else LETTER_WEIGHT for letter in letters]
    written = np.arange(len(texts)) < len(rows)
    return Examples(encode(tokenizer, list(map(normalize, texts))), np.array(allowed), np.array(weights), written)


def write_probabilities(path: Path, letters: list[Letter], probabilities: np.ndarray, levels: list[str]) -> None:
    """Writes the probabilities `[letters, classes]` of each letter's dangers, urgent and harmful, as JSON Lines."""
    kinds = {"danger": (EMERGENCY, CRISIS), "urgent": (URGENT,), "harmful": (HARMFUL,)}
    sums = {name: probabilities[:, np.isin(levels, own)].sum(1) for name, own in kinds.items()}
    lines = [
        json.dumps({"digest": letter.digest, **{name: round(float(values[row]), 4) for name, values in sums.items()}})
        for row, letter in enumerate(letters)
    ]
    write_text(path, "\n".join(lines) + "\n")


def train(given: argparse.Namespace, progress: Progress) -> None:
    """Tunes a network for each fold of the cross-validation, and writes their mean, calibrated, with its tokenizer.

    The mean of the weights of networks that began alike is more often right than each of them (Wortsman et al., 2022).
    """
    classes = list_classes()
    levels = list(classes.values())
    rows = [*load_rows(given.examples), *list_rule_examples(load_rulebook())]
    letters = [letter for letter in load_letters(given.letters) if letter.part == "train"]
    if find_spec("onnx") is None:
        raise InputError("The package onnx is not installed.", 'pip install -e ".[dev]"')
    if given.epochs < 1:
        raise InputError(f"--epochs {given.epochs} is below 1.")
    if len(letters) < FOLDS:
        raise InputError(f"{given.letters}: {len(letters)} letters to tune on are too few.")
    tokenizer = load_tokenizer(given.encoder, WINDOW)
    data = join_examples(rows, letters, tokenizer, classes)
    keep_freed_memory()  # batches of many shapes: without it the system's pages take half of the time
    short = [number for number, row in enumerate(rows) if get_set_name(row) == "everyday"]
    held = np.array([*short, *range(len(rows), len(data.ids))])  # what people send; they are scored unseen
    networks, scores = [], np.zeros((len(held), len(classes)), np.float32)
    for own in deal_folds(len(held)):
        seen = np.setdiff1d(np.arange(len(data.ids)), held[own])
        networks.append(tune(given.encoder, data.select(seen), Recipe(epochs=given.epochs), progress))
        scores[own] = compute_exported_scores(networks[-1], data.select(held[own]).ids)
    right = [rows[number]["level"] for number in short] + [letter.level for letter in letters]
    scale, shifts = calibrate(scores, right, levels)
    given.output.mkdir(parents=True, exist_ok=True)
    with write_atomically(given.output / PATH.name) as path:
        export_classifier(average(networks), path)
        describe_classifier(path, {"classes": classes, "scale": scale, "shifts": shifts})
    with write_atomically(given.output / TOKENIZER_PATH.name) as path:
        load_tokenizer(given.encoder).save(str(path), pretty=False)
    probabilities = compute_probabilities(scores[len(short) :], levels, scale, shifts)
    file = CROSS_VALIDATED if given.output == PATH.parent else given.output / CROSS_VALIDATED.name
    write_probabilities(given.probabilities or file, letters, probabilities, levels)
    size = (given.output / PATH.name).stat().st_size / 2**20
    say(f"{given.output / PATH.name}: {size:.1f} MiB, scale {scale}, shifts {shifts}")
    say(f"tuned on {len(rows):,} messages and {len(letters):,} letters")


def main(argv: list[str]) -> int:
    """Runs the script; returns its exit status."""
    parser = Parser("train_triage", "Tune the classifier of triage.")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--letters", type=Path, required=True, help="folder of the files that the labels name")
    parser.add_argument("--examples", type=Path, default=FOLDER / "examples", help="folder of written messages")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs, help="passes over the letters")
    parser.add_argument("--output", type=Path, default=PATH.parent, help="folder of the two files (the package's)")
    parser.add_argument(
        "--probabilities",
        type=Path,
        help="file for the cross-validated probabilities (default: the repository's, or in --output)",
    )
    try:
        given: argparse.Namespace = parser.parse_args(argv)
        with show_progress("Triage") as progress:
            train(given, print_progress(progress))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
