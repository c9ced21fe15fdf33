"""Trains the classifier of triage on the repository's examples, and chooses its thresholds.

    python scripts/train_triage.py [--examples FOLDER] [--output FILE.safetensors]

The examples were written by hand by language models in the roles of many people, and are no one's real words. The
thresholds are such that rules and classifier together alarm at no more of the harmless examples, judged by models that
have not seen them (five folds), than `ALARMS`, `URGENCIES` and `REFUSALS` say.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding_bag

from lightning_med.cli.arguments import Parser
from lightning_med.safety.levels import ORDINARY, URGENT
from lightning_med.safety.messages.classifier import (
    PATH,
    LinearClassifier,
    digest_rules,
    serialize_classifier,
)
from lightning_med.safety.messages.classifier_features import BUCKETS, extract_features
from lightning_med.safety.messages.danger_rules import Rulebook, load_rulebook
from lightning_med.safety.messages.parsed_message import parse_message
from lightning_med.safety.messages.rule_matches import match_rules
from lightning_med.utils.console import say, show_progress
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import write_atomically

HOME = Path(__file__).parent / "triage"
FOLDS, DECAY, STEPS = 5, 1e-5, 60
CRISIS = 2.0  # what an example of a crisis counts: they are fewer, and said in more ways
# Of ordinary examples and of look-alikes: how many may alarm; alarm or be urgent; be refused.
ALARMS, URGENCIES, REFUSALS = (0.045, 0.055), (0.16, 0.21), (0.019, 0.12)
DANGER = ("emergency", "crisis")


def load(folder: Path) -> list[dict[str, Any]]:
    """The rows of every file of a folder, each with the file's name.

    Raises:
        InputError: There is none.
    """
    rows = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                rows.append(
                    {"text": row["text"], "level": row["level"], "category": row["category"], "file": path.stem}
                )
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path}, line {number}: a text, a level and a category are wanted.") from error
    if not rows:
        raise InputError(f"{folder} holds no examples.", "Files of JSON Lines are wanted: text, level, category.")
    return rows


def of_rules(rules: Rulebook) -> list[dict[str, Any]]:
    """The rules' own examples, and their counter-examples as look-alikes."""
    return [
        {"text": text, "level": level, "category": name, "file": file}
        for name, category in rules.categories.items()
        for texts, level, file in (
            (category.examples, category.level, "rules"),
            (category.counter_examples, ORDINARY, "look_alikes"),
        )
        for text in texts
    ]


def _label(row: dict[str, Any], names: list[str]) -> int:
    if row["level"] in (ORDINARY, URGENT):
        return names.index(row["level"])
    if row["category"] not in names:
        raise InputError(
            f"{row['file']}: there is no category {row['category']!r}.", f"There are {', '.join(names[2:])}."
        )
    return names.index(row["category"])


def _bags(found: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Feature numbers in one row, where each message begins, and the weight of each feature."""
    sizes = torch.tensor([max(len(one), 1) for one in found])
    numbers = torch.tensor([number for one in found for number in (one or [0])])
    return numbers, sizes.cumsum(0) - sizes, sizes.float().rsqrt().repeat_interleave(sizes)


def scores(found: list[list[int]], weights: Tensor, constants: Tensor) -> Tensor:
    """`[messages, classes]`, before the softmax."""
    numbers, starts, shares = _bags(found)
    return embedding_bag(numbers, weights, starts, mode="sum", per_sample_weights=shares) + constants


def rarity(found: list[list[int]]) -> Tensor:
    """`[features]`: how much each feature tells by being rare, one on average over all that occur.

    Inverse document frequency (Spärck Jones, 1972): a rare word may get a large weight at a small price, so that
    few examples of it are enough.
    """
    messages = torch.zeros(BUCKETS)
    for one in found:
        messages[one] += 1
    rare = ((len(found) + 1) / (messages + 1)).log()
    return rare * messages.sum() / (rare * messages).sum()


def trained(found: list[list[int]], labels: list[int], counts: Tensor) -> tuple[Tensor, Tensor]:
    """Weights `[features, classes]` and constants `[classes]` of a softmax regression with weight decay, by L-BFGS.

    Args:
        found: The features of each example.
        labels: Its class.
        counts: `[classes]`, what an example of each class counts.
    """
    classes = len(counts)
    weights = torch.zeros(BUCKETS, classes, requires_grad=True)
    constants = torch.zeros(classes, requires_grad=True)
    numbers, starts, shares = _bags(found)
    rare = rarity(found)
    shares, wanted = shares * rare[numbers], torch.tensor(labels)
    optimizer = torch.optim.LBFGS(
        [weights, constants], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe"
    )  # of longer histories each entry takes as much memory as the weights

    def closure() -> float:
        optimizer.zero_grad()
        found_scores = embedding_bag(numbers, weights, starts, mode="sum", per_sample_weights=shares) + constants
        loss = cross_entropy(found_scores, wanted, counts) + DECAY * weights.square().sum()
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    return weights.detach() * rare[:, None], constants.detach()


def unseen(found: list[list[int]], labels: list[int], counts: Tensor, tell: Any) -> np.ndarray:
    """The chances `[messages, classes]` of each example by a model that has not seen it."""
    fold = np.random.default_rng(0).integers(0, FOLDS, len(found))
    chances = np.zeros((len(found), len(counts)))
    for number in range(FOLDS):
        tell("folds", number, FOLDS)
        seen, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        model = trained([found[i] for i in seen], [labels[i] for i in seen], counts)
        chances[held] = scores([found[i] for i in held], *model).softmax(1).numpy()
    return chances


def threshold(values: np.ndarray, ruled: np.ndarray, files: np.ndarray, shares: tuple[float, float]) -> float:
    """The least chance at which rules and classifier together alarm at no more than these shares of harmless examples.

    Args:
        values: Chances of the examples.
        ruled: Whether the rules alarm at them already.
        files: Their files: look-alikes have a share of their own, the second.
    """
    alike = files == "look_alikes"
    limits = [0.0]
    for part, share in ((~alike, shares[0]), (alike, shares[1])):
        left = int(share * part.sum()) - int(ruled[part].sum())
        open_ = np.sort(values[part & ~ruled])[::-1]
        if len(open_):
            limits.append(float(open_[max(left, 0)] if left < len(open_) else 0.0))
    return max(limits)


def main(argv: list[str]) -> int:
    """Returns the exit status."""
    parser = Parser("train_triage", "Train the classifier of triage.")
    parser.add_argument("--examples", type=Path, default=HOME / "examples")
    parser.add_argument("--output", type=Path, default=PATH)
    try:
        given: argparse.Namespace = parser.parse_args(argv)
        rows = load(given.examples)
        with show_progress("Triage") as tell:
            tell("reading the examples", 0, 0)
            rules = load_rulebook()
            rows += of_rules(rules)
            read = [parse_message(row["text"], rules) for row in rows]
            by_rule = [match_rules(one, rules) for one in read]
            found = [extract_features(one, ruled) for one, ruled in zip(read, by_rule, strict=True)]
            names = [ORDINARY, URGENT, *rules.categories]
            labels = [_label(row, names) for row in rows]
            levels = [
                ORDINARY,
                URGENT,
                *(category.level for category in rules.categories.values()),
            ]
            counts = torch.tensor([CRISIS if level == "crisis" else 1.0 for level in levels])
            chances = unseen(found, labels, counts, tell)
            tell("training", FOLDS, FOLDS)
            weights, constants = trained(found, labels, counts)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    level = np.array(levels)
    files = np.array([row["file"].rstrip("_0123456789") for row in rows])
    truth = np.array([row["level"] for row in rows])
    danger, harm = chances[:, np.isin(level, DANGER)].sum(1), chances[:, level == "harmful"].sum(1)
    care = danger + chances[:, level == URGENT].sum(1)
    ruled = {
        name: np.array([any(given_level in levels for given_level, _ in one.values()) for one in by_rule])
        for name, levels in (("alarm", DANGER), ("urgent", (*DANGER, "urgent")), ("harmful", ("harmful",)))
    }
    usual = truth == "ordinary"
    limits = {
        name: threshold(chance[usual], ruled[name][usual], files[usual], shares)
        for name, chance, shares in (
            ("alarm", danger, ALARMS),
            ("urgent", care, URGENCIES),
            ("harmful", harm, REFUSALS),
        )
    }
    report(files, danger, care, harm, ruled, limits)
    scale = weights.abs().amax(0) / 127
    limits = {name: round(limit, 4) for name, limit in limits.items()}
    rounded = (weights / scale).round().to(torch.int8).numpy()
    model = LinearClassifier(rounded, scale.numpy(), constants.numpy(), names, limits, digest_rules())
    with write_atomically(given.output) as path:
        path.write_bytes(serialize_classifier(model))
    say(f"{given.output}: {given.output.stat().st_size / 2**20:.1f} MiB from {len(rows):,} examples")
    return 0


def report(
    files: np.ndarray,
    danger: np.ndarray,
    care: np.ndarray,
    harm: np.ndarray,
    ruled: dict[str, np.ndarray],
    limits: dict[str, float],
) -> None:
    """Prints what rules and classifier find among the examples, judged unseen by the classifier."""
    say(f"thresholds: {limits}")
    alarm = (danger > limits["alarm"]) | ruled["alarm"]
    urgent = (care > limits["urgent"]) | ruled["urgent"] | alarm
    refused = (harm > limits["harmful"]) | ruled["harmful"]
    columns = ("alarm", "alarm", alarm), ("urgent or above", "urgent", urgent), ("refused", "harmful", refused)
    for name in sorted(set(files)):
        part = files == name
        told = (
            f"{what} {found[part].mean():.1%} (rules alone {ruled[key][part].mean():.1%})"
            for what, key, found in columns
        )
        say(f"{name:<12} {part.sum():>5}  {', '.join(told)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
