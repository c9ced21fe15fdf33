"""Phrases of the rules, found in a message in one pass: a tree of words, no backtracking beyond a phrase's own length.

A phrase is words with blanks between: `|` separates words that will do alike, `_` binds two words of one choice, `*`
stands for any ending, `?` marks a word that may be missing, `N` is any number, `38..42` one of these. Small words
("my", "is", "really") may stand anywhere inside a phrase, two at a time. A word that is no English is read as the
rules' word that it is one slip of the finger away from (Damerau, 1964).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from lightning_med.privacy.common_words import make_word_set, read_common_words, read_ordinary_words
from lightning_med.safety.messages.normalization import normalize
from lightning_med.safety.messages.word_split import Word, split_words

FILLERS = make_word_set(
    "the a an my his her our your their its this that these those is are was were be been being am has have had "
    "having just really very so quite kinda kind sort like of bit all also even still now suddenly completely "
    "totally it i he she they we feels feel feeling got getting get gets gone went going starting started to today "
    "again um actually about too both whole some little right left then severely badly extremely literally "
    "basically at in on one more keeps keep"
)
NEGATED = make_word_set(  # "not" in a phrase stands for each of them
    "isnt arent wasnt werent dont doesnt didnt cant couldnt wont wouldnt hasnt havent hadnt shouldnt"
)
_NUMBERS = make_word_set(
    "a an one two three four five six seven eight nine ten eleven twelve few couple several many some half"
)
_GAP = 2  # fillers that may stand between two words of a phrase
SIGNS = frozenset(".,:(")  # words of a message that are no words
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_SHORTEST_MENDED = 5
_MOST_KNOWN = 50_000  # words remembered


@dataclass(frozen=True, slots=True)
class Mention:
    """A concept where it was found: the words from `start` to before `end`."""

    concept: str
    start: int
    end: int


class PhraseMatcher:
    """Concepts, each a list of phrases.

    Args:
        concepts: Phrases by concept.
        literal: Concepts in which "not" means that word alone, not "isn't" and its kin.

    Raises:
        ValueError: A phrase is empty.
    """

    def __init__(self, concepts: dict[str, list[str]], literal: frozenset[str] = frozenset()) -> None:
        self._root: dict[str, Any] = {}
        self._exact: set[str] = set()
        self._stems: dict[str, set[str]] = defaultdict(set)  # by their first three letters
        self._ranges: dict[str, range] = {}
        for concept, phrases in concepts.items():
            for phrase in phrases:
                for spelt in _expand_spellings(phrase):
                    if "not" in spelt and concept not in literal:
                        spelt = tuple("NOT" if symbol == "not" else symbol for symbol in spelt)
                    self._add(spelt, concept)
        self._slips = self._mendable()
        self._known: dict[str, tuple[str, ...]] = {}

    def _add(self, spelt: tuple[str, ...], concept: str) -> None:
        node = self._root
        for symbol in spelt:
            if symbol not in self._exact:
                self._register(symbol)
            node = node.setdefault(symbol, {})
        node.setdefault("", []).append(concept)

    def _register(self, symbol: str) -> None:
        if symbol.endswith("*"):
            self._stems[symbol[:3].rstrip("*")].add(symbol[:-1])
        elif between := _RANGE.fullmatch(symbol):
            self._ranges[symbol] = range(int(between[1]), int(between[2]) + 1)
        else:
            self._exact.add(symbol)

    def _mendable(self) -> dict[str, str]:
        """Every word of the rules, with one or (in long words) two letters left out, to that word."""
        targets = {word for word in self._exact if len(word) >= _SHORTEST_MENDED and word.isalpha()}
        targets |= {word for word in read_ordinary_words() if len(word) >= _SHORTEST_MENDED and self._stemmed(word)}
        slips: dict[str, str] = {}
        for word in sorted(targets):
            for short in (word, *_shorten(word)):
                slips.setdefault(short, word)
        return slips

    def _stemmed(self, word: str) -> list[str]:
        found = [stem for size in (1, 2, 3) for stem in self._stems.get(word[:size], ()) if word.startswith(stem)]
        return [f"{stem}*" for stem in found]

    def symbols(self, word: str) -> tuple[str, ...]:
        """What a word may stand for in the tree: itself, its stems, or those of the word that was meant."""
        found = self._known.get(word)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[word] = self._looked_up(word)
        return found

    def _looked_up(self, word: str) -> tuple[str, ...]:
        direct = [*([word] if word in self._exact else []), *self._stemmed(word)]
        if word.isdigit() or word in _NUMBERS:
            direct.append("N")
        if word.isdecimal() and len(word) < 6:
            direct += [symbol for symbol, numbers in self._ranges.items() if int(word) in numbers]
        if word in NEGATED or word == "not":
            direct.append("NOT")
        if (
            direct
            or len(word) < _SHORTEST_MENDED
            or len(word) > 20
            or not word.isalpha()
            or word in read_ordinary_words()
        ):
            return tuple(direct)
        if word in read_common_words():  # no slip: at most another number of a word of the rules
            other = word[:-1] if word.endswith("s") else f"{word}s"
            return (other,) if other in self._exact else ()
        for short in (word, *_shorten(word)):
            meant = self._slips.get(short)
            if meant and meant[0] == word[0] and _is_one_slip_away(word, meant):
                return (*([meant] if meant in self._exact else []), *self._stemmed(meant))
        return ()

    def mentions(self, message: list[Word]) -> Iterator[Mention]:
        """Every concept in a message, in order of where it begins; of one concept at one place the longest."""
        read = [self.symbols(word.text) for word in message]
        texts = [word.text for word in message]
        for start, symbols in enumerate(read):
            if not symbols:
                continue
            longest: dict[str, int] = {}
            open_: list[tuple[dict[str, Any], int]] = [(self._root[s], start + 1) for s in symbols if s in self._root]
            while open_:
                node, at = open_.pop()
                for concept in node.get("", ()):
                    longest[concept] = max(longest.get(concept, 0), at)
                if len(node) == ("" in node):
                    continue
                for here in range(at, min(at + _GAP + 1, len(texts))):
                    for symbol in read[here]:
                        if symbol in node:
                            open_.append((node[symbol], here + 1))
                    if texts[here] not in FILLERS:
                        break
            for concept, end in longest.items():
                yield Mention(concept, start, end)


def _expand_spellings(phrase: str) -> Iterator[tuple[str, ...]]:
    """Every sequence of symbols that a phrase stands for."""
    places: list[list[tuple[str, ...]]] = []
    for piece in phrase.split():
        optional = piece.endswith("?")
        choices: list[tuple[str, ...]] = (
            [
                (),
            ]
            if optional
            else []
        )
        for choice in piece.rstrip("?").split("|"):
            if choice == "N" or _RANGE.fullmatch(choice):
                choices.append((choice,))
                continue
            stem = choice.endswith("*")
            read = [word.text for word in split_words(normalize(choice.rstrip("*").replace("_", " ")))]
            if read:
                choices.append((*read[:-1], read[-1] + "*") if stem else tuple(read))
        places.append(choices)
    for chosen in product(*places):
        flat = _join_words([symbol for part in chosen for symbol in part])
        if flat:
            yield flat
        elif not any(() in place for place in places):
            raise ValueError(f"empty phrase: {phrase!r}")


def _join_words(symbols: list[str]) -> tuple[str, ...]:
    """`can` and `not` in one phrase are one word, as in a message."""
    if "not" not in symbols[1:]:
        return tuple(symbols)
    text = " ".join(symbols)
    stems = [symbol.endswith("*") for symbol in symbols]
    return tuple(symbols) if any(stems) else tuple(word.text for word in split_words(text))


def _shorten(word: str) -> Iterable[str]:
    once = {word[:i] + word[i + 1 :] for i in range(1, len(word))}
    if len(word) < 9:
        return once
    return once | {short[:i] + short[i + 1 :] for short in once for i in range(1, len(short))}


def _is_one_slip_away(one: str, other: str) -> bool:
    """Whether two words are one slip apart, two in words of nine letters and more: optimal string alignment."""
    most = 1 if min(len(one), len(other)) < 9 else 2
    if abs(len(one) - len(other)) > most:
        return False
    before, last = list(range(len(other) + 1)), [0] * (len(other) + 1)
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        last, before = before, row
    return before[-1] <= most
