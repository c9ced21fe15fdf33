"""Figures of triage on the labelled letters, beside those of the triage of before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from lightning_med.safety import triage
from lightning_med.safety.evaluation.figures import count_figures, count_verdicts
from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL, ORDINARY, RANK, URGENT
from lightning_med.safety.messages.danger_rules import load_rulebook
from lightning_med.safety.messages.encoder.decision import DANGER, decide, get_costs
from lightning_med.safety.messages.language import is_english
from lightning_med.safety.messages.parsed_message import parse_message
from lightning_med.safety.messages.rule_matches import match_rules
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
            pairs["train"].append((letter.level, judge(letter.text, unseen[letter.digest])))
    return pairs


def judge(text: str, probabilities: tuple[float, float, float]) -> str:
    """Returns the level of a message by the rules and the probabilities of danger, urgent and harmful."""
    rules = load_rulebook()
    message = parse_message(text, rules)
    levels = {level for level, _ in match_rules(message, rules).values()}
    if is_english(text, message.words):
        found, refused = decide(*probabilities, get_costs())
        levels |= {EMERGENCY if found == DANGER else found} | ({HARMFUL} if refused else set())
    return min(levels or {URGENT}, key=lambda level: RANK.get(level, len(RANK)))


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
