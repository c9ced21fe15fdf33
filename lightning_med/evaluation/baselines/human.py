"""The human ceiling: another doctor's answer to the same question, where a table has two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence


def pair_answers(questions: Sequence[object], answers: Sequence[str]) -> list[str | None]:
    """Returns for each row another row's answer to the same question; `None` where there is none that differs.

    Args:
        questions: `[rows]`, equal for equal questions.
        answers: `[rows]`.
    """
    groups: dict[object, list[int]] = defaultdict(list)
    for row, question in enumerate(questions):
        groups[question].append(row)
    found: list[str | None] = [None] * len(answers)
    for rows in groups.values():
        for place, row in enumerate(rows):
            others = (answers[other] for other in (*rows[place + 1 :], *rows[:place]))
            found[row] = next((other for other in others if _fold(other) != _fold(answers[row])), None)
    return found


def _fold(text: str) -> str:
    return " ".join(text.lower().split())
