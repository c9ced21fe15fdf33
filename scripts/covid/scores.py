"""Scores of answers and models with their intervals, and the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from covid.dialogues import Example
from covid.published import ROWS
from lightning_med.evaluation.intervals.estimates import Estimate, estimate_all
from lightning_med.evaluation.likelihood.row_likelihood import measure_all_rows, summarize_rows
from lightning_med.evaluation.text.overlap import measure_overlap
from lightning_med.inference.model_folder import open_model

COLUMNS = {  # metric: title, form, factor
    "perplexity": ("perplexity", ".1f", 1.0),
    "nist4": ("NIST-4", ".2f", 1.0),
    "bleu2": ("BLEU-2, corpus", ".1f", 1.0),
    "bleu4": ("BLEU-4, corpus", ".1f", 1.0),
    "sentence_bleu2": ("BLEU-2, sentences", ".1f", 1.0),
    "sentence_bleu4": ("BLEU-4, sentences", ".1f", 1.0),
    "meteor": ("METEOR", ".1f", 100.0),  # a share here, a percentage in the paper
}
NOTES = """
Ours with 95 % intervals (bootstrap over the test dialogues). Published: arXiv:2005.05442; (?) it does not say which
BLEU it prints, so the figure stands in both columns. Perplexities are of different tokenizers and do not compare, nor
do METEORs: ours (NLTK's, with stems, mean over replies) has other weights than METEOR 1.5, and no synonyms.
"""
Scores = dict[str, Estimate]


def score_answers(answers: Sequence[str], rows: Sequence[Example]) -> Scores:
    """Returns the overlap of answers with the replies of the test set.

    Args:
        answers: One for each row.
        rows: Of `read_examples`.
    """
    found = measure_overlap(answers, [row["answer"] for row in rows])
    return estimate_all({name: found[name] for name in COLUMNS if name in found}, _list_groups(rows))


def score_likelihood(folder: Path, rows: Sequence[Example]) -> Scores:
    """Returns the perplexity of a model on the replies of the test set, their ends included.

    Args:
        folder: Of the export.
        rows: Of `read_examples`.
    """
    model = open_model(folder)
    questions, answers = [row["question"] for row in rows], [row["answer"] for row in rows]
    found = summarize_rows(measure_all_rows(model.load_network(torch.float32), model.encoder, questions, answers))
    return estimate_all({"perplexity": found["perplexity"]}, _list_groups(rows))


def _list_groups(rows: Sequence[Example]) -> np.ndarray:
    return np.unique([row["dialogue"] for row in rows], return_inverse=True)[1]


def format_table(ours: Mapping[str, Scores]) -> str:
    """Returns the published rows and ours as a table in Markdown, with notes.

    Args:
        ours: Scores by the row's name.
    """
    lines = [
        " | ".join(["| model", *(title for title, _, _ in COLUMNS.values())]) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for name, figures in ROWS.items():
        cells = [_format_published(figures, metric) for metric in COLUMNS]
        lines.append(" | ".join([f"| {name}", *cells]) + " |")
    for name, scores in ours.items():
        cells = [_format_estimate(scores.get(metric), metric) for metric in COLUMNS]
        lines.append(" | ".join([f"| {name}", *cells]) + " |")
    return "\n".join(lines) + "\n" + NOTES


def _format_published(figures: Mapping[str, float], metric: str) -> str:
    value = figures.get(metric.removeprefix("sentence_"))
    if value is None:
        return ""
    return f"{value:{COLUMNS[metric][1]}}{' (?)' if 'bleu' in metric else ''}"


def _format_estimate(estimate: Estimate | None, metric: str) -> str:
    if estimate is None or math.isnan(estimate.value):
        return ""
    _, form, factor = COLUMNS[metric]
    value, low, high = (format(number * factor, form) for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"
