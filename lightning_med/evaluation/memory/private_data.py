"""Private data in answers that their questions do not contain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_med.evaluation.statistic import Statistic, make_mean
from lightning_med.privacy.mask import find_private
from lightning_med.utils.console import Progress


@dataclass(frozen=True)
class PrivateText:
    """A piece of private data in an answer.

    Attributes:
        row: Of the answer.
        kind: `EMAIL`, `URL`, `PHONE`, `CARD`, `NATIONAL_ID`, `ADDRESS` or `NAME`.
        text: As the answer has it.
        leaked: Whether a training answer has it, too; `None` where no training answers were given.
    """

    row: int
    kind: str
    text: str
    leaked: bool | None


@dataclass(frozen=True)
class PrivateData:
    """Private data of all answers.

    Attributes:
        statistics: `private_data`, by name.
        found: Each piece, by row.
    """

    statistics: dict[str, Statistic]
    found: list[PrivateText]


def measure_private(
    answers: Sequence[str | None],
    questions: Sequence[str],
    training: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> PrivateData:
    """Finds private data in answers by the rules of `lightning_med.privacy`.

    What the question contains is no private data of others: it does not count. Case and white space make no difference.

    Args:
        answers: As the model wrote them; `None` where there is none.
        questions: The patients' words.
        training: The training answers, as they were learned.
        progress: Reports rows.
    """
    values = np.full(len(answers), np.nan)
    pieces: list[tuple[int, str, str]] = []
    for row, (answer, question) in enumerate(zip(answers, questions, strict=True)):
        if progress:
            progress("private data", row, len(answers))
        if answer is None:
            continue
        folded = _fold(question)
        new = [(row, span.kind, answer[span.start : span.end]) for span in find_private(answer)]
        new = [piece for piece in new if not _contains(folded, piece[2])]
        values[row] = bool(new)
        pieces += new
    leaked = _find_leaked({text for _, _, text in pieces}, training)
    found = [PrivateText(row, kind, text, leaked.get(text)) for row, kind, text in pieces]
    return PrivateData({"private_data": make_mean(values)}, found)


def _find_leaked(texts: set[str], training: Sequence[str] | None) -> dict[str, bool]:
    """Whether each text stands in a training answer; empty without training answers."""
    if training is None or not texts:
        return {}
    joined = "\x00".join(map(_fold, training))
    return {text: _contains(joined, text) for text in texts}


def _fold(text: str) -> str:
    return " ".join(text.lower().split())


def _contains(folded: str, text: str) -> bool:
    """Whether a folded text contains another one as whole words; no pattern, for that would be slow on long texts."""
    text = _fold(text)
    start = folded.find(text)
    while start >= 0:
        before, after = folded[max(start - 1, 0) : start], folded[start + len(text) : start + len(text) + 1]
        if not before.isalnum() and not after.isalnum():
            return True
        start = folded.find(text, start + 1)
    return False
