"""Train, validation, test: no question on two sides, and the same side for the same seed on any machine."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

import numpy as np

from lightning_med.errors import InputError

SPLITS = ("train", "validation", "test")
_NOT_WORDS = re.compile(r"[\W_]+")


def question_key(question: str) -> str:
    """What two spellings of one question share: letters and digits without case, punctuation, spacing and encoding."""
    return _NOT_WORDS.sub(" ", unicodedata.normalize("NFKC", question).casefold()).strip() or question


def place(key: str, seed: int) -> float:
    """A question's place in [0, 1): a keyed hash, so a row added later moves no other row."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=seed.to_bytes(8, "little", signed=True))
    return int.from_bytes(digest.digest(), "little") / 2**64


def assign(questions: list[str], seed: int, test_fraction: float, val_fraction: float) -> np.ndarray:
    """The side of each row, as an index into `SPLITS`.

    The lowest places go to test, the next to validation, the rest to training. Shares are exact in expectation only
    (112,165 rows: within 0.3 points). In a table so small that a side would stay empty each gets its share by rank, one
    question at the least.

    Args:
        questions: One a row; rows that share a question share a side.
        seed: Chooses the sides.
        test_fraction, val_fraction: Shares of all questions.

    Raises:
        InputError: There are too few different questions to fill every side.
    """
    keys = [question_key(question) for question in questions]
    places = {key: place(key, seed) for key in set(keys)}
    wanted = [(name, share) for name, share in (("test", test_fraction), ("validation", val_fraction)) if share > 0]
    sides = _by_threshold(places, wanted)
    if not {"train", *(name for name, _ in wanted)} <= set(sides.values()):
        sides = _by_rank(places, wanted)
    if "train" not in sides.values():
        raise InputError(
            f"The table holds {len(places)} different question{'s' * (len(places) != 1)} after cleaning: too few to"
            " split into training, validation and test.",
            "Three are the least, and a few hundred the least that teaches anything.",
        )
    index = {key: SPLITS.index(side) for key, side in sides.items()}
    return np.array([index[key] for key in keys], dtype=np.int8)


def _by_threshold(places: dict[str, float], wanted: list[tuple[str, float]]) -> dict[str, str]:
    sides = {}
    for key, where in places.items():
        below = 0.0
        sides[key] = "train"
        for name, fraction in wanted:
            below += fraction
            if where < below:
                sides[key] = name
                break
    return sides


def _by_rank(places: dict[str, float], wanted: list[tuple[str, float]]) -> dict[str, str]:
    """For tables of a few rows: exact shares of the ranked places."""
    ranked = sorted(places, key=lambda key: (places[key], key))
    names = [name for name, share in wanted for _ in range(max(round(share * len(ranked)), 1))]
    return {key: names[rank] if rank < len(names) else "train" for rank, key in enumerate(ranked)}
