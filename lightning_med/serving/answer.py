"""An answer to a question, with the checks that it went through."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_med.safety import Guarded
from lightning_med.safety.answers.guard import DISCLAIMER
from lightning_med.safety.messages.advice import get_notice

UNCHECKED = "unchecked"  # the level of an answer without checks
BLANK = "blank"  # the level of a row without a question


@dataclass(frozen=True)
class Answer:
    """An answer to a question.

    Attributes:
        question: As it was asked.
        answer: The text to show: guarded, with the disclaimer at its end.
        raw: The model's text; empty if the model was not asked.
        level, category: Of the verdict on the question; the level is `unchecked` if safety is off, and `blank` where a
            row of a file holds no question.
        guard: The actions of the guard, see `Guarded`.
        advice: The fixed advice, which `answer` contains; empty if the question is ordinary.
    """

    question: str
    answer: str
    raw: str
    level: str
    category: str
    guard: dict[str, int]
    advice: str

    @classmethod
    def from_guarded(cls, question: str, raw: str, guarded: Guarded) -> Answer:
        """Makes the answer to show from the guarded text of a model."""
        verdict = guarded.verdict
        return cls(question, guarded.answer, raw, verdict.level, verdict.category, guarded.actions, verdict.advice)

    @classmethod
    def without_checks(cls, question: str, raw: str) -> Answer:
        """Makes an answer that says that nothing was checked."""
        return cls(question, f"{raw}\n\n{get_notice('off')}\n\n{DISCLAIMER}", raw, UNCHECKED, "", {}, "")

    @classmethod
    def without_question(cls, question: str) -> Answer:
        """Makes the empty answer of a row that holds no question."""
        return cls(question, "", "", BLANK, "", {}, "")

    def __str__(self) -> str:
        return self.answer
