"""Real letters with the labels that readers gave them; the letters themselves are no part of this project.

`letters/labels.jsonl` names each letter by file, row and a digest of its question. The files are public forums'
consultations, with a column `input`; `load_letters` looks the questions up and checks each digest.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lightning_med.utils.errors import InputError

LABELS = Path(__file__).parent / "letters" / "labels.jsonl"
CROSS_VALIDATED = LABELS.with_name("cross_validated.jsonl")  # probabilities by networks that were tuned on the others


@dataclass(frozen=True)
class Letter:
    """A labelled letter.

    Attributes:
        text: The question.
        level: The final label.
        part: `train` or `test`.
        digest: Of the question.
    """

    text: str
    level: str
    part: str
    digest: str


def digest_question(text: str) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of a question with case and white space folded."""
    return sha256(" ".join(text.casefold().split()).encode()).hexdigest()[:16]


def read_questions(path: Path) -> list[str]:
    """Reads the column `input` of a CSV file.

    Raises:
        InputError: The file cannot be read, or has no such column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [row["input"] for row in csv.DictReader(file)]
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}", "It must be a CSV file with a column input.") from error


def load_letters(folder: Path, labels: Path = LABELS) -> list[Letter]:
    """Loads the labelled letters.

    Args:
        folder: With the files that the labels name.
        labels: JSON Lines with `file`, `row`, `digest`, `level` and `part`.

    Raises:
        InputError: A file or row is missing, or holds another question than the one that was read.
    """
    questions: dict[str, list[str]] = {}
    letters = []
    for line in labels.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        name, row = entry["file"], entry["row"]
        if name not in questions:
            questions[name] = read_questions(folder / name)
        if row >= len(questions[name]) or digest_question(questions[name][row]) != entry["digest"]:
            raise InputError(f"{folder / name}, row {row}: not the letter that was labelled.", "Use the same files.")
        letters.append(Letter(questions[name][row].strip(), entry["level"], entry["part"], entry["digest"]))
    return letters
