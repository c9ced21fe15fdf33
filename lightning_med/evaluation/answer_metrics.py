"""All metrics of one model's answers, whether a model, a table or a doctor wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lightning_med.evaluation.manner.indicators import measure_manner
from lightning_med.evaluation.memory.copies import find_copies
from lightning_med.evaluation.memory.private_answers import find_private_texts, measure_private
from lightning_med.evaluation.metric_list import METRICS
from lightning_med.evaluation.rows import Rows
from lightning_med.evaluation.safety.answer_safety import measure_safety
from lightning_med.evaluation.statistic import Statistic
from lightning_med.evaluation.text.encoder import SentenceEncoder, measure_similarity
from lightning_med.evaluation.text.flags import find_flags
from lightning_med.evaluation.text.form import measure_form
from lightning_med.evaluation.text.overlap import measure_overlap
from lightning_med.safety import Verdict
from lightning_med.utils.console import Progress


@dataclass(frozen=True)
class AnswerMetrics:
    """Metrics of a list of answers.

    Attributes:
        statistics: By name, in the order of `METRICS`.
        flags: What is plainly wrong with the answers; empty for most.
        details: Rows with the longest copies; private data that is found, and how much of it the training answers have.
    """

    statistics: dict[str, Statistic]
    flags: list[dict[str, Any]]
    details: dict[str, Any]


@dataclass(frozen=True)
class AnswerMeasurer:
    """Measures answers to the same rows.

    Args:
        rows: Questions and references.
        verdicts: Of triage on each question.
        training: Answers of training; `None` where they are not known.
        encoder: For similarity by meaning; maybe `None`.
    """

    rows: Rows
    verdicts: Sequence[Verdict]
    training: Sequence[str] | None
    encoder: SentenceEncoder | None

    def measure(
        self,
        answers: Sequence[str | None],
        ended: Sequence[bool] | None,
        progress: Progress,
        is_training: bool = False,
    ) -> AnswerMetrics:
        """Returns all metrics of answers.

        Args:
            answers: `[rows]`; `None` for a row without one.
            ended: For each, whether it ended by itself; `None` for texts that no model wrote.
            progress: Is told what is being done.
            is_training: The answers are training answers, whose copies are not counted.
        """
        questions, references = self.rows.questions, self.rows.references
        statistics = measure_overlap(answers, references, progress)
        statistics |= measure_form(answers, references, ended)
        if self.encoder is not None:
            statistics |= measure_similarity(self.encoder, answers, references, progress)
        details: dict[str, Any] = {}
        if self.training and not is_training:
            copies = find_copies(answers, self.training, progress)
            statistics |= copies.statistics
            details["copies"] = [
                {"row": c.row, "training_row": c.training_row, "words": c.words} for c in copies.longest
            ]
        private = find_private_texts(answers, questions, self.training, progress)
        details["private"] = {"found": len(private), "in_training": sum(bool(piece.leaked) for piece in private)}
        statistics |= measure_private(answers, private)
        statistics |= measure_manner(answers, self.verdicts, progress)
        statistics |= measure_safety(questions, answers, self.verdicts, progress)
        flags = [asdict(flag) for flag in find_flags(questions, answers, references, ended)]
        return AnswerMetrics({name: statistics[name] for name in METRICS if name in statistics}, flags, details)
