"""The answers of all baselines that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lightning_med.evaluation.baselines.constant import find_central_answer
from lightning_med.evaluation.baselines.human import pair_answers
from lightning_med.evaluation.baselines.names import CONSTANT, HUMAN, RETRIEVAL, RETRIEVAL_ENCODER
from lightning_med.evaluation.baselines.retrieval import find_nearest, find_nearest_vectors
from lightning_med.utils.console import Progress


class TextEncoder(Protocol):
    """Turns texts into normalized vectors."""

    def embed(self, texts: Sequence[str], progress: Progress) -> np.ndarray:
        """Returns `[texts, width]`."""


@dataclass
class BaselineAnswers:
    """Answers by name of the baseline, `[rows]` each; `None` where a row has none.

    Attributes:
        answers: By name.
        about: What each is made from, by name.
        left_out: Why a baseline is missing, a sentence each.
    """

    answers: dict[str, list[str | None]] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def make_baselines(
    questions: Sequence[str],
    references: Sequence[str],
    training: tuple[Sequence[str], Sequence[str]] | None,
    encoder: TextEncoder | None,
    progress: Progress,
) -> BaselineAnswers:
    """Makes the answers of all baselines that the data allow.

    Args:
        questions, references: `[rows]`.
        training: Questions and answers; `None` where they are not known, which the caller reports.
        encoder: For the retrieval by meaning; maybe `None`.
        progress: Is told what is being done.
    """
    made = BaselineAnswers()
    if training is None:
        pass
    elif not training[0]:
        made.left_out.append(
            "Constant reply, nearest training answer: all training rows nearly equal rows that are measured."
        )
    else:
        progress("constant reply", 0, 0)
        place = find_central_answer(training[1])
        made.answers[CONSTANT] = [training[1][place]] * len(questions)
        made.about[CONSTANT] = {"text": training[1][place], "of": len(training[1])}
        progress("nearest questions", 0, 0)
        made.answers[RETRIEVAL] = [training[1][place] for place in find_nearest(questions, training[0])]
        made.about[RETRIEVAL] = {"by": "TF-IDF of words and pairs of words", "of": len(training[1])}
        if encoder is not None:
            found = find_nearest_vectors(encoder.embed(questions, progress), encoder.embed(training[0], progress))
            made.answers[RETRIEVAL_ENCODER] = [training[1][place] for place in found]
            made.about[RETRIEVAL_ENCODER] = {"by": "vectors of the encoder", "of": len(training[1])}
        else:
            made.left_out.append("Nearest training answer by meaning: it needs an encoder, --encoder DIR.")
    others = pair_answers(questions, references)
    if any(other is not None for other in others):
        made.answers[HUMAN] = others
        made.about[HUMAN] = {"rows": sum(other is not None for other in others), "of": "the same data"}
    return made
