"""Rows of the synthetic corpus: each follows from the seed and its number, so any can be made without the others."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import accumulate
from random import Random
from typing import Any

from synthetic import dirt, duplicates, private
from synthetic.language import Language, joined
from synthetic.marks import reveal

RATES = {
    "missing": 0.004, "blank": 0.004, "short": 0.006, "double_space": 0.03, "outer_space": 0.03, "glued": 0.02,
    "html": 0.01, "mojibake": 0.01, "advertising": 0.015, "cut": 0.015, "chat_doctor": 0.03, "zero_width": 0.005,
    "duplicate": 0.006, "same_question": 0.015, "near_duplicate": 0.015, "below": 0.01,
    "email": 0.012, "phone": 0.016, "card": 0.006, "url": 0.01, "ssn": 0.006, "nhs": 0.006, "nino": 0.006,
    "aadhaar": 0.006, "address": 0.01, "name_greeting": 0.016, "name_signature": 0.016, "name_intro": 0.01,
}  # fmt: skip
_KINDS, _UP_TO = list(RATES), list(accumulate(RATES.values()))
_SECOND = 0.35  # of the rows with something private have another such thing
_CHAIN = 0.3  # of the near-duplicates are of a near-duplicate


@dataclass
class Row:
    """Two cells and what is planted in them, as lines of the truth file without their row."""

    question: str
    answer: str
    planted: list[dict[str, Any]] = field(default_factory=list)


class Corpus:
    """Makes any row of the corpus of a seed.

    Args:
        seed: Fixes every row.
        clean: Plants nothing.
    """

    def __init__(self, seed: int, clean: bool = False) -> None:
        self._seed, self._clean = seed, clean
        self._language = Language()
        self._teller = private.Teller(self._language)

    def kind(self, row: int) -> str:
        """What is planted in a row; "clean" for nothing."""
        at = bisect(_UP_TO, self._number(f"kind/{row}") / 2**64)
        return "clean" if self._clean or at == len(_KINDS) else _KINDS[at]

    def row(self, row: int) -> Row:
        """A row with what its kind plants."""
        kind, random = self.kind(row), self._random(row)
        question, answer = self._language.question(random), self._language.answer(random)
        if kind in dirt.MAKERS:
            return self._dirty(kind, question, answer, random)
        if kind in private.KINDS:
            return self._private(kind, question, answer, random)
        if kind != "clean" and (made := self._like_another(row, joined(answer))):
            return made
        return Row(joined(question), joined(answer))

    def _number(self, key: str) -> int:
        return int.from_bytes(blake2b(f"{self._seed}/{key}".encode(), digest_size=8).digest(), "little")

    def _random(self, row: int, use: str = "row") -> Random:
        return Random(self._number(f"{use}/{row}"))

    def _dirty(self, kind: str, question: list[str], answer: list[str], random: Random) -> Row:
        in_answer = kind in dirt.IN_ANSWERS or random.random() < (0.9 if kind == "chat_doctor" else 0.6)
        source = answer if in_answer else question
        if kind == "short":
            source = [self._language.sentence("short", random)]
        spoilt = dirt.MAKERS[kind](source, random)
        return _row(joined(question), spoilt) if in_answer else _row(spoilt, joined(answer))

    def _private(self, kind: str, question: list[str], answer: list[str], random: Random) -> Row:
        """One private thing or two of different kinds; in one cell, a name is planted last so that it stands alone."""
        kinds = [kind, random.choice(private.KINDS)] if random.random() < _SECOND else [kind]
        cells = {"input": question, "output": answer}
        for each in sorted(set(kinds), key=lambda planted: (planted.startswith("name"), planted)):
            asked = random.random() < (0.8 if each == "name_intro" else 0.6)
            column = "input" if asked else "output"
            cells[column] = self._teller.plant(each, column, cells[column], random)
        return _row(joined(cells["input"]), joined(cells["output"]))

    def _like_another(self, row: int, answer: str) -> Row | None:
        """A row that repeats an earlier one; None where there is none to repeat, as in the first rows."""
        kind, random = self.kind(row), self._random(row, "like")
        for _ in range(8):
            of = self._earlier(
                row, "near_duplicate" if kind == "near_duplicate" and random.random() < _CHAIN else "clean", random
            )
            if of is None:
                return None
            first = self.row(of)
            question, alike = first.question, 1.0
            if kind in ("near_duplicate", "below"):
                bounds = duplicates.NEAR if kind == "near_duplicate" else duplicates.BELOW
                made = duplicates.altered(first.question, bounds, self._language.plain, random)
                if made is None:
                    continue
                question, alike = made
            extra = {} if alike == 1 else {"jaccard": round(alike, 6)}
            planted = {"column": "input", "kind": kind, "start": 0, "end": len(question), "text": question, "of": of}
            return Row(question, first.answer if kind == "duplicate" else answer, [planted | extra])
        return None

    def _earlier(self, row: int, kind: str, random: Random) -> int | None:
        tries = 1000 if kind == "near_duplicate" else 50
        drawn = (int(random.random() * row) for _ in range(tries if row else 0))
        return next((of for of in drawn if self.kind(of) == kind), None)


def _row(question: str, answer: str) -> Row:
    """The row of two marked cells."""
    cells, planted = {}, []
    for column, marked in (("input", question), ("output", answer)):
        cells[column], spans = reveal(marked)
        planted += [{"column": column} | vars(span) for span in spans]
    return Row(cells["input"], cells["output"], planted)
