"""Generates questions and answers from word lists and templates; they look like real ones and mean nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

HERE = Path(__file__).parent
# Quantiles of the tokens of real questions and answers, at the shares of rows `_SHARES`; linear in between.
_SHARES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
_QUESTION = (34, 36, 58, 61, 68, 83, 113, 157, 196, 302, 617, 1068)
_ANSWER = (12, 17, 31, 41, 61, 90, 130, 172, 203, 274, 397, 589)
_CHARACTERS = 4.1  # per token of GPT-2 in this text
_SENTENCE = 84  # characters per sentence, on average
_SLOT = re.compile(r"\[[^\[\]]*\]|\{[^{}]*\}")
_ARTICLE = re.compile(r" a (?=[aeiou])")
_SECOND_ARTICLE = re.compile(r"\b([Tt]he|[Tt]his) an? ")
_HASTY = {
    "I am": "im",
    "I'm": "im",
    "don't": "dont",
    "can't": "cant",
    "cannot": "cant",
    "didn't": "didnt",
    "I've": "ive",
}

Part = Any  # a compiled template: a text, a tuple of parts, or a `Choice`


class Choice:
    """Parts to choose from; with a `skew` above 1 the first ones are chosen more often."""

    __slots__ = ("options", "skew")

    def __init__(self, options: list[Part], skew: float = 1.0) -> None:
        self.options, self.skew = options, skew


def read_lists(name: str, separator: str) -> dict[str, list[str]]:
    """Reads lists of texts from a YAML file in this folder.

    Args:
        name: File name.
        separator: Separator of the entries of a value; a value on one line is always separated by commas.
    """
    blocks: dict[str, str] = yaml.safe_load((HERE / name).read_text(encoding="utf-8"))
    lists = {key: text.split(separator if "\n" in text else ",") for key, text in blocks.items()}
    return {key: [" ".join(entry.split()) for entry in entries if entry.strip()] for key, entries in lists.items()}


class Language:
    """The templates of all slots, compiled once so that making a row needs no parsing."""

    def __init__(self) -> None:
        entries = read_lists("words.yaml", ",") | read_lists("phrases.yaml", "\n")
        self._slots = {slot: Choice([], 1.7 if len(words) > 45 else 1.0) for slot, words in entries.items()}
        self._slots["asked"].skew = self._slots["replied"].skew = 1.0  # whole sentences: all equally frequent
        for slot, words in entries.items():
            self._slots[slot].options = [self.compile(text) for text in words]
        self.plain = sorted(
            {word for word in " ".join(entries["adjective"] + entries["habit"]).split() if word.isalpha()}
        )

    def compile(self, text: str) -> Part:
        """Compiles a template with ``{slot}``, ``{2..9}``, ``{0.5..2.0}`` and ``[this|that]``."""
        parts: list[Part] = []
        position = 0
        for match in _SLOT.finditer(text):
            parts += [text[position : match.start()], self._compile_slot(match[0])]
            position = match.end()
        kept = [part for part in (*parts, text[position:]) if part != ""]
        return kept[0] if len(kept) == 1 and isinstance(kept[0], str) else tuple(kept)

    def _compile_slot(self, slot: str) -> Choice:
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

    def draw(self, template: Part, random: Random) -> str:
        """Draws a text from a compiled template."""
        pieces: list[str] = []
        _draw((template,), random.random, pieces)
        return "".join(pieces)

    def make_sentence(self, slot: str, random: Random) -> str:
        """Draws a sentence from a slot, with a capital letter and correct articles."""
        text = _ARTICLE.sub(" an ", f" {self.draw(self._slots[slot], random)}")
        if "he a" in text or "his a" in text:
            text = _SECOND_ARTICLE.sub(r"\1 ", text)
        return text[1].upper() + text[2:]

    def make_question(self, random: Random) -> list[str]:
        """Draws a greeting, sentences and a farewell; the first and last may be empty, and words may be misspelled."""
        texts = self._draw_texts("asked", _QUESTION, (0.45, 0.7), random)
        if random.random() < 0.5:
            texts = [misspell(text, random) if random.random() < 0.3 else text for text in texts]
        return [write_hastily(text) for text in texts] if random.random() < 0.15 else texts

    def make_answer(self, random: Random) -> list[str]:
        """Draws a greeting, sentences and a farewell; the first and last may be empty."""
        return self._draw_texts("replied", _ANSWER, (0.8, 0.75), random)

    def _draw_texts(
        self, kind: str, tokens: tuple[int, ...], politeness: tuple[float, float], random: Random
    ) -> list[str]:
        hello = self.make_sentence(f"hello_{kind}", random) if random.random() < politeness[0] else ""
        bye = self.make_sentence(f"bye_{kind}", random) if random.random() < politeness[1] else ""
        target = float(np.interp(random.random(), _SHARES, tokens)) * _CHARACTERS
        target -= len(hello) + len(bye) + _SENTENCE / 2
        body = [self.make_sentence(kind, random)]
        length = len(body[0])
        while length < target:
            body.append(self.make_sentence(kind, random))
            length += len(body[-1]) + 1
        return [hello, *body, bye]


def _draw(parts: tuple[Part, ...], number: Callable[[], float], pieces: list[str]) -> None:
    """Appends a draw of each part to the pieces; most of the time of a row is spent here."""
    for part in parts:
        if type(part) is Choice:
            share = number() if part.skew == 1.0 else number() ** part.skew
            part = part.options[int(share * len(part.options))]
        if type(part) is str:
            pieces.append(part)
        else:
            _draw(part, number, pieces)


def misspell(text: str, random: Random) -> str:
    """Swaps or drops a letter of one lower-case word of five letters or more, if that is the word drawn."""
    words = text.split(" ")
    place = int(random.random() * len(words))
    word = words[place]
    if len(word) > 4 and word.isalpha() and word.islower():
        i = 1 + int(random.random() * (len(word) - 3))
        middle = word[i + 1] + word[i] if random.random() < 0.6 else word[i]
        words[place] = word[:i] + middle + word[i + 2 :]
    return " ".join(words)


def write_hastily(text: str) -> str:
    """Writes a text in lower case and with fewer apostrophes."""
    for long, short in _HASTY.items():
        text = text.replace(long, short)
    return text.lower()


def join_sentences(sentences: list[str]) -> str:
    """Joins the non-empty sentences of a cell with spaces."""
    return " ".join([sentence for sentence in sentences if sentence])
