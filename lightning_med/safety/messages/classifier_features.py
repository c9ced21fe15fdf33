"""Features of the classifier: hashed words, pairs of words, concepts and character n-grams of a message."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar
from zlib import crc32

from lightning_med.safety.messages.phrase_matcher import PUNCTUATION

if TYPE_CHECKING:
    from lightning_med.safety.messages.parsed_message import ParsedMessage
    from lightning_med.safety.messages.rule_matches import RuleMatches

BUCKETS = 1 << 18
T = TypeVar("T")
_NGRAM_SIZES = (3, 4, 5)
_MAX_WORD_LENGTH = 30
_MAX_WORDS = 600  # of a message: its first and its last 300


def hash_feature(feature: str) -> int:
    """Returns the bucket of a feature, in `range(BUCKETS)`."""
    return crc32(feature.encode()) % BUCKETS


def extract_features(message: ParsedMessage, matches: RuleMatches) -> list[int]:
    """Returns the buckets of a message's features, sorted, each once.

    The features are words, pairs of words, character n-grams, concepts and the rules that match. A word that does not
    count in its context (negated, past, hypothetical, a relative's) is another feature than the word itself.
    """
    buckets = {hash_feature(feature) for feature in _name_features(message, matches)}
    for word in {word.text for word in _shorten(message.words)}:
        buckets.update(_hash_ngrams(word))
    return sorted(buckets)


@lru_cache(maxsize=1 << 15)
def _hash_ngrams(word: str) -> tuple[int, ...]:
    """The character n-grams of a word with its borders marked: a misspelt word shares most of them."""
    text = f"<{word[:_MAX_WORD_LENGTH]}>"
    return tuple(
        hash_feature(f"~{text[start : start + size]}")
        for size in _NGRAM_SIZES
        for start in range(max(len(text) - size + 1, 1))
    )


def _shorten(words: list[T]) -> list[T]:
    return words if len(words) <= _MAX_WORDS else words[: _MAX_WORDS // 2] + words[-_MAX_WORDS // 2 :]


def _name_features(message: ParsedMessage, matches: RuleMatches) -> Iterator[str]:
    for name, (level, _) in matches.items():
        yield f"rule {name} {level}"
    words = _shorten(
        [
            word.text if reason is None else f"{reason}:{word.text}"
            for word, reason in zip(message.words, message.context.reasons, strict=True)
            if word.text not in PUNCTUATION
        ]
    )
    yield from set(words)
    for word, following in pairwise(words):
        yield f"{word} {following}"
    for word, second in zip(words, words[2:], strict=False):
        yield f"{word} _ {second}"
    mentions = zip(message.mentions, message.reasons, strict=True)
    for concept, reason in {(mention.concept, reason) for mention, reason in mentions}:
        if concept[0] == "$":
            yield f"{concept} {reason}"
