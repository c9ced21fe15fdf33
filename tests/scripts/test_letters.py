"""The labels of real letters: whole, disjoint from what is held apart, and checked against the files."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lightning_med.utils.errors import InputError

Script = Callable[[str], ModuleType]
LEVELS = {"emergency", "crisis", "harmful", "urgent", "ordinary"}


@pytest.fixture
def letters(script: Script) -> ModuleType:
    return script("triage.letters")


def read_labels(letters: ModuleType) -> list[dict[str, object]]:
    return [json.loads(line) for line in letters.LABELS.read_text(encoding="utf-8").splitlines()]


def test_every_letter_is_labelled_once_by_two_readers(letters: ModuleType) -> None:
    labels = read_labels(letters)
    assert len(labels) >= 2000
    assert len({entry["digest"] for entry in labels}) == len(labels)
    for entry in labels:
        first, second = entry["readers"]
        assert {first, second, entry["level"]} <= LEVELS
        assert entry["level"] == (first if first == second else entry["third"])
        assert "text" not in entry
    parts = Counter(entry["part"] for entry in labels)
    assert parts == {"test": 600, "train": len(labels) - 600}


def test_a_letter_is_checked_against_its_digest(letters: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("input,output\nMy  Knee hurts,x\nDry skin,y\n")
    entry = {"file": "a.csv", "row": 0, "readers": ["ordinary", "urgent"], "level": "urgent", "part": "train"}
    labels = tmp_path / "labels.jsonl"
    labels.write_text(json.dumps({**entry, "digest": letters.digest_question("my knee hurts ")}) + "\n")
    (letter,) = letters.load_letters(tmp_path, labels)
    assert (letter.text, letter.level, letter.part) == ("My  Knee hurts", "urgent", "train")
    for row in (1, 2):
        labels.write_text(json.dumps({**entry, "row": row, "digest": letter.digest}) + "\n")
        with pytest.raises(InputError, match="not the letter"):
            letters.load_letters(tmp_path, labels)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(InputError, match=r"a\.csv"):
        letters.load_letters(tmp_path, labels)


def test_no_labelled_letter_is_one_that_is_held_apart(letters: ModuleType, shared: Path) -> None:
    """Held apart are rows for measuring elsewhere, and every row whose question equals one of theirs."""
    folder = shared / "data"
    if not (folder / "held_apart_rows.csv").is_file():
        pytest.skip("no list of rows that are held apart")
    with (folder / "held_apart_rows.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["file"], int(row["row"])) for row in csv.DictReader(file)]
    questions = {name: letters.read_questions(folder / name) for name in {name for name, _ in rows}}
    held = {letters.digest_question(questions[name][row]) for name, row in rows}
    used = {letter.digest for letter in letters.load_letters(folder)}
    assert len(held) >= 700
    assert not used & held
