"""Canaries: secrets that were planted into the training data, and how far a model prefers them to others.

Exposure after Carlini et al., *The Secret Sharer* (USENIX Security 2019): log2 of the number of candidates minus log2
of the rank of the secret among them, by likelihood.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits
from typing import Any

import numpy as np

from lightning_med.utils.errors import InputError, describe_error

OTHERS = 999  # candidates beside the secret
_HINT = 'Each line is an object with texts: {"question": …, "answer": …, "secret": a part of the answer}.'
_ALPHABETS = (digits, ascii_lowercase, ascii_uppercase)

Score = Callable[[list[tuple[str, str]]], Sequence[float]]


@dataclass(frozen=True)
class Canary:
    """A planted consultation.

    Attributes:
        question: The patient's words; they do not contain the secret.
        answer: The doctor's words, with the secret.
        secret: A part of `answer` with ASCII digits or letters, drawn at random by whoever planted it.
    """

    question: str
    answer: str
    secret: str


def read_canaries(path: Path) -> list[Canary]:
    """Reads canaries from a JSONL file.

    Raises:
        InputError: The file cannot be read, has no canary, or a line is malformed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The canaries {path} cannot be read: {describe_error(error)}.", _HINT) from error
    canaries: list[Canary] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            canaries.append(_read_canary(line, f"Line {number} of {path}"))
            if canaries[-1] in canaries[:-1]:
                raise InputError(f"Line {number} of {path} repeats an earlier canary.", "Leave it out.")
    if not canaries:
        raise InputError(f"{path} has no canary.", _HINT)
    return canaries


def measure_canary(canary: Canary, row: int, score: Score, seed: int = 0, count: int = OTHERS) -> dict[str, Any]:
    """Measures the exposure of a canary.

    A candidate is as likely as its whole answer. Candidates that are as likely as the secret count as more likely, so
    that a model that tells none apart has exposure 0.

    Args:
        canary: Of `read_canaries`.
        row: Its place there.
        score: Returns the loss in nats, summed over the answer's tokens, of each pair of a question and an answer.
        seed: Of the other candidates.
        count: Of the other candidates; fewer where the secret's shape has fewer.

    Returns:
        Its `canary` (the place), `rank` (1 is the most likely), `candidates`, `exposure` in bits (`None` where the loss
        is not finite) and `most_likely`.
    """
    secrets = [canary.secret, *draw_candidates(canary.secret, count, [seed, row])]
    pairs = [(canary.question, canary.answer.replace(canary.secret, secret)) for secret in secrets]
    losses = np.asarray(score(pairs), float)
    rank = int((losses <= losses[0]).sum())
    exposure = math.log2(len(losses)) - math.log2(rank) if rank else None
    return {
        "canary": row,
        "rank": rank,
        "candidates": len(losses),
        "exposure": exposure,
        "most_likely": rank == 1,
    }


def summarize_canaries(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the exposure of all canaries together.

    Returns:
        `canaries`: the rows. `mean_exposure`, its `upper_limit` (all secrets the most likely) and the `expected` value
        without memory; `most_likely`: the share of canaries whose secret is the most likely.
    """
    sizes = [entry["candidates"] for entry in rows]
    known = [entry["exposure"] for entry in rows if entry["exposure"] is not None]
    return {
        "canaries": list(rows),
        "mean_exposure": float(np.mean(known)) if known else None,
        "upper_limit": float(np.mean(np.log2(sizes))),
        "expected": float(np.mean([np.log2(size) - np.log2(np.arange(1, size + 1)).mean() for size in sizes])),
        "most_likely": float(np.mean([entry["most_likely"] for entry in rows])),
    }


def draw_candidates(secret: str, count: int, seed: int | Sequence[int]) -> list[str]:
    """Returns different texts of the secret's shape: a digit for each digit, a letter in the same case for each letter.

    Args:
        secret: Not among them.
        count: How many; all others of the shape where there are fewer.
        seed: Of numpy's generator.
    """
    alphabets = [next((letters for letters in _ALPHABETS if char in letters), char) for char in secret]
    sizes = [len(letters) for letters in alphabets]
    generator = np.random.default_rng(seed)
    chosen: dict[str, None] = {}
    if math.prod(sizes) <= 4 * count:
        numbers = np.stack(np.unravel_index(generator.permutation(math.prod(sizes)), sizes), 1)
    else:
        numbers = generator.integers(0, sizes, (2 * count, len(sizes)))  # over half of them differ
    for places in numbers:
        chosen["".join(letters[place] for letters, place in zip(alphabets, places, strict=True))] = None
    chosen.pop(secret, None)
    return list(chosen)[:count]


def _read_canary(line: str, where: str) -> Canary:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {describe_error(error)}.", _HINT) from error
    if not isinstance(entry, dict):
        raise InputError(f"{where} is no object.", _HINT)
    for name in ("question", "answer", "secret"):
        if not isinstance(entry.get(name), str) or not entry[name].strip():
            raise InputError(f"{where} has no text {name!r}.", _HINT)
    canary = Canary(entry["question"], entry["answer"], entry["secret"])
    if canary.secret not in canary.answer:
        raise InputError(f"{where}: the secret {canary.secret!r} is no part of the answer.", _HINT)
    if canary.secret in canary.question:
        raise InputError(f"{where}: the question has the secret.", "Leave it out: the model would only repeat it.")
    if not any(char in digits or char in ascii_letters for char in canary.secret):
        raise InputError(f"{where}: the secret {canary.secret!r} has neither digits nor letters.", _HINT)
    return canary
