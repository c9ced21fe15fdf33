"""From measured rows to the content of `metrics.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightning_med.data.splits.shingle_index import find_near_duplicates
from lightning_med.evaluation.answer_metrics import AnswerMeasurer
from lightning_med.evaluation.baselines.baseline_answers import make_baselines
from lightning_med.evaluation.baselines.human import pair_answers
from lightning_med.evaluation.baselines.names import HUMAN, UNTUNED
from lightning_med.evaluation.candidates import Candidate
from lightning_med.evaluation.manner.indicators import measure_detectors
from lightning_med.evaluation.measured_rows import MeasuredRows, Plan, identify_rows
from lightning_med.evaluation.results.comparisons import Interval, Measured
from lightning_med.evaluation.results.content import make_results, measure_baselines, measure_candidate
from lightning_med.evaluation.rows import Rows
from lightning_med.evaluation.text.encoder import SentenceEncoder
from lightning_med.inference.model_folder import choose_device
from lightning_med.safety import Verdict, triage
from lightning_med.safety.messages.advice import resolve_file_region
from lightning_med.utils.console import Progress
from lightning_med.utils.errors import InputError

_UNKNOWN_TRAINING = (
    "The training rows are not known: copies of them were not looked for, and models that were trained on these rows"
    " look better than they are. Name them: --train RUN"
)


@dataclass(frozen=True)
class Material:
    """All that an evaluation reads.

    Attributes:
        candidates: The models, the untuned base among them where it is at hand.
        rows: What they are measured on.
        plan: What is measured of each.
        interval: Settings of the intervals.
        limit: Rows that were drawn; `None` for all.
        training: Training rows; `None` where they are not known.
        human: Rows with several answers to a question, and the name of their table; `None` for those of `rows`.
        encoder: Of sentences; maybe `None`.
        no_base, no_training: Why the untuned base and the training rows are missing; empty if they are not.
    """

    candidates: list[Candidate]
    rows: Rows
    plan: Plan
    interval: Interval
    limit: int | None
    training: Rows | None
    human: tuple[Rows, str] | None
    encoder: SentenceEncoder | None
    no_base: str
    no_training: str

    @property
    def models(self) -> list[Candidate]:
        """The candidates without the untuned base."""
        return [each for each in self.candidates if each.name != UNTUNED]

    def identify(self) -> dict[str, str]:
        """Returns what the measured rows depend on, by names for messages."""
        return identify_rows(self.candidates, self.rows, self.plan)


def analyze(material: Material, results: MeasuredRows, progress: Progress) -> dict[str, Any]:
    """Returns the content of `metrics.json`.

    Args:
        material: What was measured.
        results: Complete.
        progress: Is told what is being done.
    """
    rows, training, encoder = material.rows, material.training, material.encoder
    progress("triage of the questions, leaks", 0, 0)
    measurer = AnswerMeasurer(rows, _triage(rows.questions), None if training is None else training.references, encoder)
    apart, doubts = (None, [_UNKNOWN_TRAINING]) if training is None else _leave_out_leaks(rows, training)
    pair = None if apart is None else (apart.questions, apart.references)
    made = make_baselines(rows.questions, rows.references, pair, encoder, progress)
    if material.human is not None:
        made.answers.pop(HUMAN, None)
    found = {
        each.name: measure_candidate(each, material.candidates, results, material.plan, measurer, progress)
        for each in material.candidates
    }
    found |= measure_baselines(made, measurer, progress)
    if material.human is not None:
        found[HUMAN] = measure_human(*material.human, encoder, progress)
    left_out = [*[material.no_base] * bool(material.no_base), *made.left_out, *_list_missing(material, HUMAN in found)]
    names = [each.name for each in material.models]
    settings = _describe_settings(material)
    content = make_results(rows, found, names, settings, left_out, doubts, material.interval, progress)
    return {**content, "detectors": measure_detectors()}


def measure_human(human: Rows, table: str, encoder: SentenceEncoder | None, progress: Progress) -> Measured:
    """Measures one doctor's answers against another's, on rows of their own.

    Raises:
        InputError: No question has two answers.
    """
    pairs = pair_answers(human.questions, human.references)
    places = np.array([place for place, other in enumerate(pairs) if other is not None], np.int64)
    if not len(places):
        raise InputError(f"--human {table}: no question has two answers.", "Name a table where several doctors answer.")
    rows = human.select(places)
    measured = AnswerMeasurer(rows, _triage(rows.questions), None, encoder).measure(
        [pairs[place] for place in places], None, progress
    )
    return Measured(measured.statistics, groups=rows.groups, about={"rows": len(rows), "of": Path(table).name})


def _triage(questions: Sequence[str]) -> list[Verdict]:
    region = resolve_file_region()
    return [triage(question, region) for question in questions]


def _leave_out_leaks(rows: Rows, training: Rows) -> tuple[Rows, list[str]]:
    """Leaves out training rows whose questions nearly equal a measured one; returns the others, and a sentence."""
    pairs = find_near_duplicates(rows.questions, training.questions)
    if not pairs:
        return training, []
    ours, theirs = {one for one, _ in pairs}, {other for _, other in pairs}
    kept = np.array([place for place in range(len(training)) if place not in theirs], np.int64)
    sentence = (
        f"{len(ours):,} of {len(rows):,} questions nearly equal a training question. Models that were trained on these"
        " rows look better than they are; the baselines go without them."
    )
    return training.select(kept), [sentence]


def _list_missing(material: Material, has_human: bool) -> list[str]:
    sentences = []
    if not has_human:
        sentences.append(
            "Another doctor: no question of the data has two answers; --human FILE names a table that has."
        )
    if material.encoder is None:
        sentences.append("BERTScore, semantic similarity: they need an encoder, --encoder DIR.")
    elif material.encoder.cut:
        sentences.append(f"Similarity of the ends of {material.encoder.cut:,} texts: too long for the encoder.")
    if material.training is None:
        sentences.append(f"Constant reply, nearest training answer, copies: {material.no_training}")
    if material.rows.dropped:
        sentences.append(f"{material.rows.dropped:,} rows of the table, which cleaning drops; `prepare` reports why.")
    return sentences


def _describe_settings(material: Material) -> dict[str, Any]:
    plan, training = material.plan, material.training
    return {
        "kinds": list(plan.kinds),
        **{name: getattr(plan, name) for name in ("max_new_tokens", "max_length", "sampling_seed")},
        "limit": material.limit,
        "region": resolve_file_region(),
        "precision": "float32",
        "engine": "transformers",
        "device": choose_device().type,
        "encoder": None if material.encoder is None else material.encoder.digest,
        "training": None if training is None else training.describe(),
    }
