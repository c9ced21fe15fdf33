"""The human ceiling: another doctor's answer to the same question, where a table has two."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

_WORD = re.compile(r"\w+")
_ALIKE = 0.8  # share of common words from which two answers count as one


def pair_answers(questions: Sequence[str], answers: Sequence[str]) -> list[str | None]:
    """Returns for each row another row's answer to the same question; `None` where there is none that differs.

    Questions are the same if they differ in case, punctuation and spacing alone. Answers are if most of their words
    are.

    Args:
        questions, answers: `[rows]`.
    """
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, question in enumerate(questions):
        groups[tuple(_WORD.findall(question.lower()))].append(row)
    found: list[str | None] = [None] * len(answers)
    for rows in groups.values():
        for place, row in enumerate(rows):
            others = (answers[other] for other in (*rows[place + 1 :], *rows[:place]))
            found[row] = next((other for other in others if not _is_alike(other, answers[row])), None)
    return found


def _is_alike(one: str, other: str) -> bool:
    words, others = set(_WORD.findall(one.lower())), set(_WORD.findall(other.lower()))
    return len(words & others) >= _ALIKE * len(words | others)
