"""Trains the classifier of triage on the repository's examples, and chooses its thresholds.

    python scripts/train_triage.py [--examples FOLDER] [--output FILE.safetensors]

Language models wrote the examples in the roles of many people; they are no one's real words. The thresholds are the
lowest at which rules and classifier together alarm at no more of the harmless examples than `MAX_SHARES` says. For this
choice each example is judged by a model that was not trained on it (five folds).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from triage.examples import FOLDER, get_set_name, list_rule_examples, load_rows
from triage.regression import FOLDS, cross_validate, train_regression

from lightning_med.cli.parsing.arguments import Parser
from lightning_med.safety.levels import CRISIS, EMERGENCY, HARMFUL, ORDINARY, URGENT
from lightning_med.safety.messages.classifier import PATH, LinearClassifier, digest_rules, serialize_classifier
from lightning_med.safety.messages.classifier_features import extract_features
from lightning_med.safety.messages.danger_rules import load_rulebook
from lightning_med.safety.messages.parsed_message import parse_message
from lightning_med.safety.messages.rule_matches import match_rules
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_atomically

CRISIS_WEIGHT = 2.0  # crises have fewer examples, in more different words
# Which share of the ordinary examples, and of the look-alikes, may alarm; be urgent or alarm; be refused.
MAX_SHARES = {"alarm": (0.045, 0.055), "urgent": (0.16, 0.21), "harmful": (0.019, 0.12)}
# The levels that exceed each threshold.
LEVELS = {"alarm": (EMERGENCY, CRISIS), "urgent": (EMERGENCY, CRISIS, URGENT), "harmful": (HARMFUL,)}


@dataclass(frozen=True)
class TrainingSet:
    """The examples as the classifier sees them.

    Attributes:
        rows: With the level of each.
        features: The buckets of each row's features.
        rule_levels: The levels of the rules that match each row.
        classes: Names of the classes: ordinary, urgent, and the categories.
        class_levels: The level of each class.
        labels: The class of each row.
    """

    rows: list[dict[str, Any]]
    features: list[list[int]]
    rule_levels: list[set[str]]
    classes: list[str]
    class_levels: list[str]
    labels: list[int]


def prepare(rows: list[dict[str, Any]]) -> TrainingSet:
    """Applies the rules to labelled rows, and adds the rules' own examples.

    Raises:
        InputError: A row has a category that the rules do not know.
    """
    rules = load_rulebook()
    rows = [*rows, *list_rule_examples(rules)]
    messages = [parse_message(row["text"], rules) for row in rows]
    matches = [match_rules(message, rules) for message in messages]
    classes = [ORDINARY, URGENT, *rules.categories]
    return TrainingSet(
        rows,
        [extract_features(*pair) for pair in zip(messages, matches, strict=True)],
        [{level for level, _ in matched.values()} for matched in matches],
        classes,
        [ORDINARY, URGENT, *(category.level for category in rules.categories.values())],
        [_find_label(row, classes) for row in rows],
    )


def _find_label(row: dict[str, Any], classes: list[str]) -> int:
    name = row["level"] if row["level"] in (ORDINARY, URGENT) else row["category"]
    if name not in classes:
        raise InputError(f"{row['file']}: there is no category {name!r}.", f"There are {', '.join(classes[2:])}.")
    return classes.index(name)


def choose_threshold(
    probabilities: np.ndarray, by_rule: np.ndarray, sets: np.ndarray, shares: tuple[float, float]
) -> float:
    """Returns the lowest threshold at which at most these shares of harmless examples alarm.

    Args:
        probabilities: Of an alarm, for each harmless example.
        by_rule: Whether the rules alarm at it.
        sets: The set that it is part of.
        shares: The highest share of all sets but `look_alikes`, and that of `look_alikes`.
    """
    alike = sets == "look_alikes"
    limits = [0.0]
    for part, share in ((~alike, shares[0]), (alike, shares[1])):
        allowed = int(share * part.sum()) - int(by_rule[part].sum())
        others = np.sort(probabilities[part & ~by_rule])[::-1]
        if len(others):
            limits.append(float(others[max(allowed, 0)] if allowed < len(others) else 0.0))
    return max(limits)


def choose_limits(data: TrainingSet, probabilities: np.ndarray) -> dict[str, float]:
    """Chooses the thresholds, and prints which shares of each set exceed them.

    Args:
        data: The examples.
        probabilities: `[examples, classes]`, of `cross_validate`.
    """
    levels = np.array(data.class_levels)
    sets = np.array([get_set_name(row) for row in data.rows])
    harmless = np.array([row["level"] == ORDINARY for row in data.rows])
    by_rule = {name: np.array([bool(found & set(LEVELS[name])) for found in data.rule_levels]) for name in LEVELS}
    total = {name: probabilities[:, np.isin(levels, LEVELS[name])].sum(1) for name in LEVELS}
    limits = {
        name: choose_threshold(total[name][harmless], by_rule[name][harmless], sets[harmless], shares)
        for name, shares in MAX_SHARES.items()
    }
    say(f"thresholds: {limits}")
    exceeds = {name: (total[name] > limits[name]) | by_rule[name] for name in LEVELS}
    exceeds["urgent"] |= exceeds["alarm"]
    titles = {"alarm": "alarm", "urgent": "urgent or above", "harmful": "refused"}
    for name in sorted(set(sets)):
        part = sets == name
        shares_text = ", ".join(
            f"{titles[key]} {exceeds[key][part].mean():.1%} (rules alone {by_rule[key][part].mean():.1%})"
            for key in LEVELS
        )
        say(f"{name:<12} {part.sum():>5}  {shares_text}")
    return limits


def main(argv: list[str]) -> int:
    """Runs the script; returns its exit status."""
    parser = Parser("train_triage", "Train the classifier of triage.")
    parser.add_argument("--examples", type=Path, default=FOLDER / "examples", help="folder of JSON Lines files")
    parser.add_argument("--output", type=Path, default=PATH, help="the classifier's file (default: the package's)")
    try:
        given: argparse.Namespace = parser.parse_args(argv)
        rows = load_rows(given.examples)
        with show_progress("Triage") as progress:
            progress("reading the examples", 0, 0)
            data = prepare(rows)
            weight_of = {CRISIS: CRISIS_WEIGHT}
            class_weights = torch.tensor([weight_of.get(level, 1.0) for level in data.class_levels])
            probabilities = cross_validate(data.features, data.labels, class_weights, progress)
            progress("training", FOLDS, FOLDS)
            weights, constants = train_regression(data.features, data.labels, class_weights)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    limits = {name: round(limit, 4) for name, limit in choose_limits(data, probabilities).items()}
    scale = weights.abs().amax(0) / 127
    rounded = (weights / scale).round().to(torch.int8).numpy()
    model = LinearClassifier(rounded, scale.numpy(), constants.numpy(), data.classes, limits, digest_rules())
    with write_atomically(given.output) as path:
        path.write_bytes(serialize_classifier(model))
    say(f"{given.output}: {given.output.stat().st_size / 2**20:.1f} MiB from {len(data.rows):,} examples")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
