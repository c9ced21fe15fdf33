"""Figures of triage on the labelled letters, beside those of the triage of before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lightning_med.safety import triage
from lightning_med.safety.evaluation.figures import count_figures, count_verdicts
from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL, ORDINARY, URGENT
from lightning_med.safety.messages.danger_rules import load_rulebook
from lightning_med.safety.messages.encoder.classifier import Reading
from lightning_med.safety.messages.triage import judge
from lightning_med.utils.errors import InputError
from lightning_med.utils.shares import format_share
from triage.examples import FOLDER
from triage.letters import CROSS_VALIDATED, load_letters

# Hits and totals, by part, of the triage that this package had before: rules and a linear classifier.
BEFORE = FOLDER / "letters" / "rules_and_linear_classifier.json"
EVERYDAY = {
    "everyday questions": FOLDER / "everyday" / "test.jsonl",
    "greetings, fragments, bare topics": FOLDER / "everyday" / "talk.jsonl",
}

Pairs = list[tuple[str, str]]  # label and verdict


def score_letters(folder: Path, progress: Callable[[str, int, int], None]) -> dict[str, Pairs]:
    """Returns label and verdict of each letter by part: of `train` by networks that were not tuned on it.

    Args:
        folder: Of the files that the labels name.
        progress: Of `show_progress`.
    """
    letters = load_letters(folder)
    rows = map(json.loads, CROSS_VALIDATED.read_text(encoding="utf-8").splitlines())
    unseen = {row["digest"]: (row["danger"], row["urgent"], row["harmful"]) for row in rows}
    pairs: dict[str, Pairs] = {"test": [], "train": []}
    for number, letter in enumerate(letters):
        if number % 50 == 0:
            progress("letters", number, len(letters))
        if letter.part == "test":
            pairs["test"].append((letter.level, triage(letter.text).level))
        elif letter.digest not in unseen:
            raise InputError(f"{CROSS_VALIDATED} lacks a letter.", "Train again: python scripts/train_triage.py")
        else:
            pairs["train"].append((letter.level, judge(letter.text, make_reader(unseen[letter.digest])).level))
    return pairs


def make_reader(probabilities: tuple[float, float, float]) -> Callable[[str], Reading]:
    """Returns what reads any message as one with these probabilities of danger, urgent and harmful."""
    names = {category.level: category.name for category in load_rulebook().categories.values()}  # one of each level
    danger, urgent, harmful = probabilities
    found = dict.fromkeys(load_rulebook().categories, 0.0)
    found |= {ORDINARY: 1 - sum(probabilities), URGENT: urgent, names[EMERGENCY]: danger, names[HARMFUL]: harmful}
    return lambda text: Reading(text, found, np.zeros((0, 2), np.int64), np.zeros((0, len(found)), np.float32))


def format_letters(pairs: dict[str, Pairs]) -> list[str]:
    """Returns the lines of two Markdown tables: the figures beside those of before, and the test's verdicts."""
    before = json.loads(BEFORE.read_text(encoding="utf-8"))
    lines = [
        "| what | test, before | test, now | others, before | others, now (cross-validated) |",
        "|---|---|---|---|---|",
    ]
    columns = [figures for part, own in pairs.items() for figures in (before[part], count_figures(own))]
    lines += [f"| {name} | {' | '.join(format_share(*figures[name]) for figures in columns)} |" for name in columns[0]]
    counts = count_verdicts(pairs["test"])
    lines += ["", f"| label, and its verdicts in the test | {' | '.join(counts)} |", "|---|" + "---|" * len(counts)]
    lines += [
        f"| {label} | {' | '.join(map(str, row.values()))} |" for label, row in counts.items() if any(row.values())
    ]
    return lines


def format_everyday() -> list[str]:
    """Returns the lines of a Markdown table: the verdicts on short messages that readers called ordinary."""
    lines = ["| messages | ordinary | urgent | emergency or crisis | harmful |", "|---|---|---|---|---|"]
    for name, file in EVERYDAY.items():
        texts = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
        levels = [triage(text).level for text in texts]
        counts = [levels.count(ORDINARY), levels.count(URGENT), levels.count(EMERGENCY) + levels.count(CRISIS)]
        shares = [format_share(count, len(levels)) for count in (*counts, levels.count(HARMFUL))]
        lines.append(f"| {name} | {' | '.join(shares)} |")
    return lines
