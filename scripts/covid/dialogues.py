"""Dialogues of COVID-Dialogue-Dataset-English.txt, split and cut into examples as the authors do.

Source: `CovidDialog/English-COVID-dialogue-code/download/download_dialogs.py` of github.com/UCSD-AI4H/COVID-Dialogue at
commit 029e8ab2. Texts are in lower case with single spaces. An example is a reply of the doctor; its question is the
description and all turns before, as the published Transformer reads them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lightning_med.utils.errors import InputError, describe_error
from lightning_med.utils.files import write_text

SEED = 11111
SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}
_HINT = "Name COVID-Dialogue-Dataset-English.txt of github.com/UCSD-AI4H/COVID-Dialogue."
_SPEAKER = re.compile("Doctor:|Patient:")
Example = dict[str, Any]


@dataclass(frozen=True)
class Dialogue:
    """A description and the turns of patient and doctor, who alternate; the patient begins."""

    description: str
    turns: tuple[str, ...]


def parse_dialogues(text: str) -> list[Dialogue]:
    """Returns the dialogues of the file in order; those in which a speaker speaks twice in a row are left out."""
    found = (_parse_dialogue(part) for part in text.split("id="))
    return [dialogue for dialogue in found if dialogue is not None]


def _parse_dialogue(text: str) -> Dialogue | None:
    text = text[text.find("Description") :].strip()
    description = text[len("Description\n") : text.find("\nDialogue")]
    text = text[text.find("\nPatient:") :]
    speakers = list(_SPEAKER.finditer(text))
    names = [speaker.group() for speaker in speakers]
    if not names or any(one == other for one, other in pairwise(names)):
        return None
    ends = [*(speaker.start() for speaker in speakers[1:]), len(text)]
    turns = (_clean(text[speaker.end() : end]) for speaker, end in zip(speakers, ends, strict=True))
    return Dialogue(_clean(description), tuple(turns))


def _clean(text: str) -> str:
    return " ".join(text.lower().split())


def split_dialogues(dialogues: Sequence[Dialogue]) -> dict[str, list[Dialogue]]:
    """Returns the dialogues of each split, shuffled with the authors' seed; test gets what the others leave."""
    shuffled, start = list(dialogues), 0
    random.Random(SEED).shuffle(shuffled)
    splits = {}
    for name, share in SPLITS.items():
        end = len(shuffled) if name == "test" else start + int(share * len(shuffled))
        splits[name], start = shuffled[start:end], end
    return splits


def make_examples(dialogues: Sequence[Dialogue]) -> list[Example]:
    """Returns a row for each reply: `dialogue` (its place), `turn` (from 0), `question` and `answer`."""
    rows = []
    for place, dialogue in enumerate(dialogues):
        history = f"description: {dialogue.description} ;"
        for number, turn in enumerate(dialogue.turns):
            if number % 2:
                row = {"dialogue": place, "turn": number // 2, "question": history, "answer": turn}
                rows.append(row)
            history += f" {'doctor' if number % 2 else 'patient'}: {turn} ;"
    return rows


def write_splits(file: Path, folder: Path) -> dict[str, list[Dialogue]]:
    """Writes the examples of each split as JSON lines, and returns the dialogues of each split.

    Args:
        file: The authors' file.
        folder: Gets `train.jsonl`, `validation.jsonl` and `test.jsonl`; a number of a dialogue is in one split alone.

    Raises:
        InputError: The file cannot be read or holds fewer dialogues than splits.
    """
    try:
        dialogues = parse_dialogues(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--data {file} cannot be read: {describe_error(error)}", _HINT) from error
    splits = split_dialogues(dialogues)
    if not all(splits.values()):
        raise InputError(f"--data {file} has {len(dialogues)} dialogues.", _HINT)
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for name, members in splits.items():
        rows = [{**row, "dialogue": first + row["dialogue"]} for row in make_examples(members)]
        write_text(folder / f"{name}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        first += len(members)
    return splits


def read_examples(folder: Path, split: str) -> list[Example]:
    """Reads the examples of a split that `write_splits` has written."""
    with (folder / f"{split}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
