"""A small linear classifier over words, concepts and pieces of words: it raises alarms that the rules missed.

Softmax over the rules' categories, "urgent" and "ordinary", of hashed features (in the manner of Joulin et al., 2017).
Its weights are trained by `scripts/train_triage.py` on the repository's examples and shipped as safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from zlib import crc32

from lightning_med.safety.messages.phrase_matcher import FILLERS, SIGNS

if TYPE_CHECKING:
    import numpy as np

    from lightning_med.safety.messages.reading import Reading
    from lightning_med.safety.messages.rule_matches import Found

PATH = Path(__file__).with_name("triage.safetensors")
RULES = Path(__file__).with_name("rules.yaml")
BUCKETS = 1 << 18
ORDINARY, URGENT = "ordinary", "urgent"
T = TypeVar("T")
_SIZES = (3, 4, 5)
_LONGEST_WORD = 30
_LONGEST = 600  # words of a message that are looked at: its first and its last half of them


def extract_features(read: Reading, found: Found) -> list[int]:
    """The numbers of a message's features, each once.

    Words, pairs of words and pieces of words, concepts, and what the rules made of them. A word that does not count
    where it stands (negated, past, hypothetical, a relative's) is another feature than the word itself.
    """
    numbers = {crc32(feature.encode()) % BUCKETS for feature in _name_features(read, found)}
    for word in {word.text for word in _shorten(read.words)}:
        numbers.update(_hash_pieces(word))
    return sorted(numbers)


@lru_cache(maxsize=1 << 15)
def _hash_pieces(word: str) -> tuple[int, ...]:
    """The pieces of a word, its borders marked: what a misspelt one shares with the word that was meant."""
    text = f"<{word[:_LONGEST_WORD]}>"
    return tuple(
        crc32(f"~{text[start : start + size]}".encode()) % BUCKETS
        for size in _SIZES
        for start in range(max(len(text) - size + 1, 1))
    )


def _shorten(words: list[T]) -> list[T]:
    return words if len(words) <= _LONGEST else words[: _LONGEST // 2] + words[-_LONGEST // 2 :]


def _name_features(read: Reading, found: Found) -> Iterator[str]:
    for name, (level, _) in found.items():
        yield f"rule {name} {level}"
    said = [
        word.text if reason is None else f"{reason}:{word.text}"
        for word, reason in zip(read.words, read.stance.all, strict=True)
        if word.text not in SIGNS
    ]
    spoken = _shorten(said)
    yield from set(spoken)
    for one, other in pairwise(spoken):
        yield f"{one} {other}"
    for one, other in zip(spoken, spoken[2:], strict=False):
        yield f"{one} _ {other}"
    for concept, reason in {(one.concept, reason) for one, reason in zip(read.mentions, read.reasons, strict=True)}:
        if concept[0] == "$":
            yield f"{concept} {reason}"


@dataclass(frozen=True)
class LinearClassifier:
    """The trained weights.

    Attributes:
        weights: `[features, classes]`, int8.
        scale, constants: `[classes]`, float32: what a weight is worth, and what stands before all features.
        names: Of the classes.
        limits: The chances above which a message alarms (`alarm`), asks for care (`urgent`), is refused (`harmful`).
        rules: The digest of the rules that it was trained with.
    """

    weights: np.ndarray
    scale: np.ndarray
    constants: np.ndarray
    names: list[str]
    limits: dict[str, float]
    rules: str

    def chances(self, found: list[int]) -> dict[str, float]:
        """The probability of each class, from a message's features."""
        import numpy as np

        scores = self.weights[found].sum(0, dtype=np.int64) * self.scale / max(len(found), 1) ** 0.5 + self.constants
        shares = np.exp(scores - scores.max())
        return dict(zip(self.names, (shares / shares.sum()).tolist(), strict=True))

    def telling(self, read: Reading, name: str, most: int = 4) -> list[str]:
        """The words of a message that speak most for a class."""
        column = self.weights[:, self.names.index(name)]
        worth = {
            word.text: int(column[crc32(word.text.encode()) % BUCKETS])
            for word in read.words
            if len(word.text) > 2 and word.text not in FILLERS
        }
        return [word for word in sorted(worth, key=lambda word: -worth[word])[:most] if worth[word] > 0]


@cache
def load_classifier() -> LinearClassifier:
    """The model that is shipped."""
    import numpy as np

    content = PATH.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    told = json.loads(header.pop("__metadata__")["triage"])

    def tensor(name: str, kind: str) -> np.ndarray:
        start, end = header[name]["data_offsets"]
        return np.frombuffer(content[8 + size + start : 8 + size + end], dtype=kind).reshape(header[name]["shape"])

    tensors = tensor("weights", "<i1"), tensor("scale", "<f4"), tensor("constants", "<f4")
    return LinearClassifier(*tensors, told["classes"], told["limits"], told["rules"])


def digest_rules() -> str:
    """Of the rules: whoever changes them trains the classifier anew, for it reads their concepts."""
    return sha256(RULES.read_bytes()).hexdigest()[:16]
