"""Questions and answers from word lists and templates. The sentences look like the real ones and mean nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

HERE = Path(__file__).parent
# Tokens of real questions and answers, in the shares of rows of `_SHARES`; between them, straight lines.
_SHARES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
_QUESTION = (34, 36, 58, 61, 68, 83, 113, 157, 196, 302, 617, 1068)
_ANSWER = (12, 17, 31, 41, 61, 90, 130, 172, 203, 274, 397, 589)
_CHARACTERS = 4.1  # a token of GPT-2, in this text
_SENTENCE = 84  # characters of the average sentence
_SLOT = re.compile(r"\[[^\[\]]*\]|\{[^{}]*\}")
_ARTICLE = re.compile(r" a (?=[aeiou])")
_SECOND_ARTICLE = re.compile(r"\b([Tt]he|[Tt]his) an? ")
_HASTE = {
    "I am": "im",
    "I'm": "im",
    "don't": "dont",
    "can't": "cant",
    "cannot": "cant",
    "didn't": "didnt",
    "I've": "ive",
}

Part = Any  # a text, a tuple of parts, or a Choice


class Choice:
    """Texts to choose from; `skew` is over 1 where the first are the frequent ones."""

    __slots__ = ("options", "skew")

    def __init__(self, options: list[Part], skew: float = 1.0) -> None:
        self.options, self.skew = options, skew


def read_lists(name: str, separator: str) -> dict[str, list[str]]:
    """The lists of a file beside this one; a value of one line is parted by commas in any."""
    blocks: dict[str, str] = yaml.safe_load((HERE / name).read_text(encoding="utf-8"))
    parted = {key: text.split(separator if "\n" in text else ",") for key, text in blocks.items()}
    return {key: [" ".join(entry.split()) for entry in entries if entry.strip()] for key, entries in parted.items()}


class Language:
    """All slots, compiled, so that a row takes no parsing."""

    def __init__(self) -> None:
        entries = read_lists("words.yaml", ",") | read_lists("phrases.yaml", "\n")
        self._slots = {slot: Choice([], 1.7 if len(words) > 45 else 1.0) for slot, words in entries.items()}
        self._slots["asked"].skew = self._slots["replied"].skew = 1.0
        for slot, words in entries.items():
            self._slots[slot].options = [self.compile(text) for text in words]
        self.plain = sorted(
            {word for word in " ".join(entries["adjective"] + entries["habit"]).split() if word.isalpha()}
        )

    def compile(self, text: str) -> Part:
        """A template as its parts: ``{slot}``, ``{2..9}``, ``{0.5..2.0}`` and ``[this|that]``."""
        parts: list[Part] = []
        at = 0
        for found in _SLOT.finditer(text):
            parts += [text[at : found.start()], self._choice(found[0])]
            at = found.end()
        kept = [part for part in (*parts, text[at:]) if part != ""]
        return kept[0] if len(kept) == 1 and isinstance(kept[0], str) else tuple(kept)

    def _choice(self, slot: str) -> Choice:
        inner = slot[1:-1]
        if slot[0] == "[":
            return Choice([self.compile(text) for text in inner.split("|")])
        if ".." not in inner:
            return self._slots[inner]
        low, high = inner.split("..")
        if "." not in low:
            return Choice([str(number) for number in range(int(low), int(high) + 1)])
        digits = len(low.split(".")[1])
        first, last = round(float(low) * 10**digits), round(float(high) * 10**digits)
        return Choice([f"{number / 10**digits:.{digits}f}" for number in range(first, last + 1)])

    def say(self, template: Part, random: Random) -> str:
        """A text drawn from a template."""
        pieces: list[str] = []
        _draw((template,), random.random, pieces)
        return "".join(pieces)

    def sentence(self, slot: str, random: Random) -> str:
        """A sentence with its capital and the article that its words want."""
        text = _ARTICLE.sub(" an ", f" {self.say(self._slots[slot], random)}")
        if "he a" in text or "his a" in text:
            text = _SECOND_ARTICLE.sub(r"\1 ", text)
        return text[1].upper() + text[2:]

    def question(self, random: Random) -> list[str]:
        """A greeting, sentences and a farewell, the first and the last perhaps empty, typed with care or in haste."""
        texts = self._texts("asked", _QUESTION, (0.45, 0.7), random)
        if random.random() < 0.5:
            texts = [misspelt(text, random) if random.random() < 0.3 else text for text in texts]
        return [in_haste(text) for text in texts] if random.random() < 0.15 else texts

    def answer(self, random: Random) -> list[str]:
        """A greeting, sentences and a farewell, the first and the last perhaps empty."""
        return self._texts("replied", _ANSWER, (0.8, 0.75), random)

    def _texts(self, kind: str, tokens: tuple[int, ...], polite: tuple[float, float], random: Random) -> list[str]:
        hello = self.sentence(f"hello_{kind}", random) if random.random() < polite[0] else ""
        bye = self.sentence(f"bye_{kind}", random) if random.random() < polite[1] else ""
        wanted = float(np.interp(random.random(), _SHARES, tokens)) * _CHARACTERS
        wanted -= len(hello) + len(bye) + _SENTENCE / 2
        body = [self.sentence(kind, random)]
        length = len(body[0])
        while length < wanted:
            body.append(self.sentence(kind, random))
            length += len(body[-1]) + 1
        return [hello, *body, bye]


def _draw(parts: tuple[Part, ...], number: Callable[[], float], pieces: list[str]) -> None:
    """Adds what is drawn for each part to the pieces; this is where the time of a row goes."""
    for part in parts:
        if type(part) is Choice:
            at = number() if part.skew == 1.0 else number() ** part.skew
            part = part.options[int(at * len(part.options))]
        if type(part) is str:
            pieces.append(part)
        else:
            _draw(part, number, pieces)


def misspelt(text: str, random: Random) -> str:
    """Two letters of one word change places, or one is lost; never in a number, a name or a unit."""
    words = text.split(" ")
    at = int(random.random() * len(words))
    word = words[at]
    if len(word) > 4 and word.isalpha() and word.islower():
        i = 1 + int(random.random() * (len(word) - 3))
        middle = word[i + 1] + word[i] if random.random() < 0.6 else word[i]
        words[at] = word[:i] + middle + word[i + 2 :]
    return " ".join(words)


def in_haste(text: str) -> str:
    """Small letters and few apostrophes."""
    for long, short in _HASTE.items():
        text = text.replace(long, short)
    return text.lower()


def joined(sentences: list[str]) -> str:
    """The text of a cell."""
    return " ".join([sentence for sentence in sentences if sentence])
