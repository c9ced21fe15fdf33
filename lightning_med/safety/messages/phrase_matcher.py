"""Search for the rules' phrases in a message, in one pass over a tree of words.

A phrase is words separated by blanks. `|` separates alternatives for a word, `_` joins two words of one alternative,
`*` stands for any ending, `?` marks an optional word, `N` is any number, `38..42` any number of a range. Up to two
filler words ("my", "is", "really") may stand between two words of a phrase.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from lightning_med.privacy.word_lists import make_word_set
from lightning_med.safety.messages.normalization import normalize
from lightning_med.safety.messages.word_split import Word, split_words

FILLERS = make_word_set(
    "the a an my his her our your their its this that these those is are was were be been being am has have had "
    "having just really very so quite kinda kind sort like of bit all also even still now suddenly completely "
    "totally it i he she they we feels feel feeling got getting get gets gone went going starting started to today "
    "again um actually about too both whole some little right left then severely badly extremely literally "
    "basically at in on one more keeps keep"
)
NEGATED_AUXILIARIES = make_word_set(  # "not" in a phrase stands for each of them
    "isnt arent wasnt werent dont doesnt didnt cant couldnt wont wouldnt hasnt havent hadnt shouldnt"
)
PUNCTUATION = frozenset(".,:(")  # the words of a message that are punctuation marks
_NUMBERS = make_word_set(
    "a an one two three four five six seven eight nine ten eleven twelve few couple several many some half"
)
_ANY_NOT = "NOT"  # the symbol of "not" and of every negated auxiliary
_MAX_FILLERS = 2  # between two words of a phrase
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_CACHE_SIZE = 50_000  # words


@dataclass(frozen=True, slots=True)
class Mention:
    """An occurrence of a concept: the words from `start` up to but not including `end`."""

    concept: str
    start: int
    end: int


class PhraseMatcher:
    """Finds concepts, each a list of phrases, in messages.

    Args:
        concepts: Phrases by concept.
        literal: Concepts in whose phrases "not" is that word alone, and not also "isn't", "don't", …

    Raises:
        ValueError: A phrase is empty.
    """

    def __init__(self, concepts: dict[str, list[str]], literal: frozenset[str] = frozenset()) -> None:
        self._root: dict[str, Any] = {}  # a node maps a symbol to the next node, and "" to the concepts that end there
        self._exact: set[str] = set()
        self._stems: dict[str, set[str]] = defaultdict(set)  # by their first three letters
        self._ranges: dict[str, range] = {}
        for concept, phrases in concepts.items():
            for phrase in phrases:
                for symbols in _expand_phrase(phrase):
                    if "not" in symbols and concept not in literal:
                        symbols = tuple(_ANY_NOT if symbol == "not" else symbol for symbol in symbols)
                    self._add(symbols, concept)
        self._cache: dict[str, tuple[str, ...]] = {}

    def _add(self, symbols: tuple[str, ...], concept: str) -> None:
        node = self._root
        for symbol in symbols:
            if symbol not in self._exact:
                self._register(symbol)
            node = node.setdefault(symbol, {})
        node.setdefault("", []).append(concept)

    def _register(self, symbol: str) -> None:
        if symbol.endswith("*"):
            self._stems[symbol[:3].rstrip("*")].add(symbol[:-1])
        elif limits := _RANGE.fullmatch(symbol):
            self._ranges[symbol] = range(int(limits[1]), int(limits[2]) + 1)
        else:
            self._exact.add(symbol)

    def _find_stems(self, word: str) -> list[str]:
        stems = [stem for size in (1, 2, 3) for stem in self._stems.get(word[:size], ()) if word.startswith(stem)]
        return [f"{stem}*" for stem in stems]

    def find_symbols(self, word: str) -> tuple[str, ...]:
        """Returns the tree's symbols for a word: itself and its stems."""
        symbols = self._cache.get(word)
        if symbols is None:
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            symbols = self._cache[word] = self._find_exact(word)
        return symbols

    def _find_exact(self, word: str) -> tuple[str, ...]:
        symbols = [*([word] if word in self._exact else []), *self._find_stems(word)]
        if word.isdigit() or word in _NUMBERS:
            symbols.append("N")
        if word.isdecimal() and len(word) < 6:
            symbols += [symbol for symbol, numbers in self._ranges.items() if int(word) in numbers]
        if word in NEGATED_AUXILIARIES or word == "not":
            symbols.append(_ANY_NOT)
        return tuple(symbols)

    def find_mentions(self, words: list[Word]) -> Iterator[Mention]:
        """Yields the mentions of all concepts, by their start; of several of one concept at one place the longest."""
        symbols_of = [self.find_symbols(word.text) for word in words]
        texts = [word.text for word in words]
        for start, symbols in enumerate(symbols_of):
            if not symbols:
                continue
            ends: dict[str, int] = {}
            pending: list[tuple[dict[str, Any], int]] = [(self._root[s], start + 1) for s in symbols if s in self._root]
            while pending:
                node, end = pending.pop()
                for concept in node.get("", ()):
                    ends[concept] = max(ends.get(concept, 0), end)
                if len(node) == ("" in node):  # a leaf
                    continue
                for place in range(end, min(end + _MAX_FILLERS + 1, len(texts))):
                    pending += [(node[symbol], place + 1) for symbol in symbols_of[place] if symbol in node]
                    if texts[place] not in FILLERS:
                        break
            for concept, end in ends.items():
                yield Mention(concept, start, end)


def _expand_phrase(phrase: str) -> Iterator[tuple[str, ...]]:
    """Every sequence of symbols that a phrase stands for."""
    places: list[list[tuple[str, ...]]] = []
    for piece in phrase.split():
        alternatives: list[tuple[str, ...]] = [()] if piece.endswith("?") else []
        for written in piece.rstrip("?").split("|"):
            if written == "N" or _RANGE.fullmatch(written):
                alternatives.append((written,))
                continue
            words = [word.text for word in split_words(normalize(written.rstrip("*").replace("_", " ")))]
            if words:
                alternatives.append((*words[:-1], f"{words[-1]}*") if written.endswith("*") else tuple(words))
        places.append(alternatives)
    for chosen in product(*places):
        symbols = _join_negations([symbol for part in chosen for symbol in part])
        if symbols:
            yield symbols
        elif not any(() in place for place in places):
            raise ValueError(f"empty phrase: {phrase!r}")


def _join_negations(symbols: list[str]) -> tuple[str, ...]:
    """`can not` becomes `cant`, as in a message."""
    if "not" not in symbols[1:] or any(symbol.endswith("*") for symbol in symbols):
        return tuple(symbols)
    return tuple(word.text for word in split_words(" ".join(symbols)))
