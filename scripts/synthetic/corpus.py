"""Makes rows of the synthetic corpus; each depends only on the seed and its number."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import accumulate
from random import Random
from typing import Any

from synthetic import dirt, duplicates, private_data
from synthetic.language import Language, join_sentences
from synthetic.marks import reveal

RATES = {  # share of the rows by what is planted in them; nothing in the others
    "missing": 0.004, "blank": 0.004, "short": 0.006, "double_space": 0.03, "outer_space": 0.03, "glued": 0.02,
    "html": 0.01, "mojibake": 0.01, "advertising": 0.015, "cut": 0.015, "chat_doctor": 0.03, "zero_width": 0.005,
    "duplicate": 0.006, "same_question": 0.015, "near_duplicate": 0.015, "below": 0.01,
    "email": 0.012, "phone": 0.016, "card": 0.006, "url": 0.01, "ssn": 0.006, "nhs": 0.006, "nino": 0.006,
    "aadhaar": 0.006, "address": 0.01, "name_greeting": 0.016, "name_signature": 0.016, "name_intro": 0.01,
}  # fmt: skip
_KINDS, _CUMULATIVE = list(RATES), list(accumulate(RATES.values()))
_SECOND = 0.35  # share of the rows with private data that get a second kind of it
_CHAIN = 0.3  # share of the near-duplicates that are made of a near-duplicate


@dataclass
class Row:
    """Two cells and what is planted in them: the lines of the truth file, without their row number."""

    question: str
    answer: str
    planted: list[dict[str, Any]] = field(default_factory=list)


class Corpus:
    """Makes any row of a corpus.

    Args:
        seed: Determines every row.
        clean: Plants nothing.
    """

    def __init__(self, seed: int, clean: bool = False) -> None:
        self._seed, self._clean = seed, clean
        self._language = Language()
        self._planter = private_data.Planter(self._language)

    def choose_kind(self, row: int) -> str:
        """Returns what is planted in a row: a key of `RATES`, or "clean"."""
        place = bisect(_CUMULATIVE, self._hash(f"kind/{row}") / 2**64)
        return "clean" if self._clean or place == len(_KINDS) else _KINDS[place]

    def make_row(self, row: int) -> Row:
        """Makes a row and plants in it what its kind says."""
        kind, random = self.choose_kind(row), self._make_random(row)
        question, answer = self._language.make_question(random), self._language.make_answer(random)
        if kind in dirt.MAKERS:
            return self._plant_dirt(kind, question, answer, random)
        if kind in private_data.KINDS:
            return self._plant_private_data(kind, question, answer, random)
        if kind != "clean" and (repeated := self._repeat_earlier(row, join_sentences(answer))):
            return repeated
        return Row(join_sentences(question), join_sentences(answer))

    def _hash(self, key: str) -> int:
        return int.from_bytes(blake2b(f"{self._seed}/{key}".encode(), digest_size=8).digest(), "little")

    def _make_random(self, row: int, use: str = "row") -> Random:
        return Random(self._hash(f"{use}/{row}"))

    def _plant_dirt(self, kind: str, question: list[str], answer: list[str], random: Random) -> Row:
        in_answer = kind in dirt.IN_ANSWERS or random.random() < (0.9 if kind == "chat_doctor" else 0.6)
        source = answer if in_answer else question
        if kind == "short":
            source = [self._language.make_sentence("short", random)]
        dirty = dirt.MAKERS[kind](source, random)
        if in_answer:
            return _reveal_row(join_sentences(question), dirty)
        return _reveal_row(dirty, join_sentences(answer))

    def _plant_private_data(self, kind: str, question: list[str], answer: list[str], random: Random) -> Row:
        """Plants one or two kinds of private data; names last, so that their words are not repeated in the cell."""
        kinds = [kind, random.choice(private_data.KINDS)] if random.random() < _SECOND else [kind]
        cells = {"input": question, "output": answer}
        for each in sorted(set(kinds), key=lambda planted: (planted.startswith("name"), planted)):
            in_question = random.random() < (0.8 if each == "name_intro" else 0.6)
            column = "input" if in_question else "output"
            cells[column] = self._planter.plant(each, column, cells[column], random)
        return _reveal_row(join_sentences(cells["input"]), join_sentences(cells["output"]))

    def _repeat_earlier(self, row: int, answer: str) -> Row | None:
        """Repeats the question of an earlier row, perhaps changed; `None` if none fits, as in the first rows."""
        kind, random = self.choose_kind(row), self._make_random(row, "like")
        for _ in range(8):
            of = self._find_earlier(
                row, "near_duplicate" if kind == "near_duplicate" and random.random() < _CHAIN else "clean", random
            )
            if of is None:
                return None
            original = self.make_row(of)
            question, extra = original.question, {}
            if kind in ("near_duplicate", "below"):
                bounds = duplicates.NEAR if kind == "near_duplicate" else duplicates.BELOW
                altered = duplicates.alter_question(original.question, bounds, self._language.plain, random)
                if altered is None:
                    continue
                question, extra = altered[0], {"jaccard": round(altered[1], 6)}
            planted = {"column": "input", "kind": kind, "start": 0, "end": len(question), "text": question, "of": of}
            return Row(question, original.answer if kind == "duplicate" else answer, [planted | extra])
        return None

    def _find_earlier(self, row: int, kind: str, random: Random) -> int | None:
        tries = 1000 if kind == "near_duplicate" else 50
        candidates = (int(random.random() * row) for _ in range(tries if row else 0))
        return next((of for of in candidates if self.choose_kind(of) == kind), None)


def _reveal_row(question: str, answer: str) -> Row:
    """Makes a row of two marked cells."""
    cells, planted = {}, []
    for column, marked in (("input", question), ("output", answer)):
        cells[column], spans = reveal(marked)
        planted += [{"column": column} | vars(span) for span in spans]
    return Row(cells["input"], cells["output"], planted)
