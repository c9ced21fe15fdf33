"""Overlap of answers with the references: ROUGE, BLEU, NIST, METEOR, chrF."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from lightning_med.evaluation.statistic import Statistic, make_mean
from lightning_med.evaluation.text.ngram_sums import (
    ORDERS,
    combine_nist,
    count_ngrams,
    make_bleu,
    select_bleu,
    select_nist,
    sum_row,
    weigh_ngrams,
)
from lightning_med.utils.console import Progress

_ROUGE = ("rouge1", "rouge2", "rougeL")
_CHRF_BETA = 2  # recall counts twice as much as precision, the default of sacreBLEU


def measure_overlap(
    answers: Sequence[str | None], references: Sequence[str], progress: Progress | None = None
) -> dict[str, Statistic]:
    """Measures how much answers share with the references.

    NIST weighs sequences by their frequency in all `references`, also those without an answer and also when rows are
    drawn: weights belong to the data, not to a model.

    Args:
        answers: `None` for a row that has no value.
        references: As many.
        progress: Is told how many rows are done.

    Returns:
        The statistics of `rouge1`, `rouge2`, `rougeL`, `bleu`, `bleu2`, `bleu4`, `sentence_bleu2`, `sentence_bleu4`,
        `nist4`, `meteor` and `chrf`.
    """
    from sacrebleu.metrics import BLEU, CHRF
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
    from torchmetrics.functional.text import rouge_score

    tokenize, score_meteor = Tokenizer13a(), _make_meteor()
    bleu, chrf = BLEU(force=True), CHRF()  # `force` says nothing about answers that look tokenized
    tokens = [tokenize(reference.lower()) for reference in references]
    ngrams = [count_ngrams(line) for line in tokens]
    weights = weigh_ngrams(ngrams)
    widths = {
        "rouge": len(_ROUGE),
        "bleu": 2 + 2 * ORDERS,
        "ngrams": 2 + 3 * ORDERS,
        "meteor": 1,
        "chrf": 3 * CHRF.CHAR_ORDER,
    }
    sums = {name: np.full((len(answers), width), np.nan) for name, width in widths.items()}
    for row, (answer, reference) in enumerate(zip(answers, references, strict=True)):
        if progress:
            progress("overlap", row, len(answers))
        if answer is None:
            continue
        scores = rouge_score(answer, reference, rouge_keys=_ROUGE)
        sums["rouge"][row] = [float(scores[f"{name}_fmeasure"]) for name in _ROUGE]
        sums["bleu"][row] = bleu._extract_corpus_statistics([answer], [[reference]])[0]
        sums["chrf"][row] = chrf._extract_corpus_statistics([answer], [[reference]])[0]
        line = tokenize(answer.lower())
        sums["ngrams"][row] = sum_row(count_ngrams(line), ngrams[row], weights)
        sums["meteor"][row] = score_meteor(tokens[row].split(), line.split())
    found = {name: make_mean(values) for name, values in zip(_ROUGE, sums["rouge"].T, strict=True)}
    found["bleu"] = Statistic(sums["bleu"], make_bleu(smooth=True))
    for orders in (2, 4):
        columns = select_bleu(sums["ngrams"], orders)
        found[f"bleu{orders}"] = Statistic(columns, make_bleu(smooth=False))
        rows = make_bleu(smooth=True)(columns)
        found[f"sentence_bleu{orders}"] = make_mean(np.where(columns[:, 1] == 0, 0.0, rows))  # no reference, no match
    found["nist4"] = Statistic(select_nist(sums["ngrams"]), combine_nist)
    found["meteor"] = make_mean(sums["meteor"][:, 0])
    found["chrf"] = Statistic(sums["chrf"], combine_chrf)
    return found


def combine_chrf(sums: np.ndarray) -> np.ndarray:
    """The formula of chrF as sacreBLEU has it, 0 to 100.

    Precision and recall are means over the lengths of sequences that both texts are long enough for.

    Args:
        sums: `[..., 18]`: sequences of the answers, of the references, and matches, for each length from 1 to 6.
    """
    answers, references, matches = (sums[..., start::3] for start in range(3))
    both = (answers > 0) & (references > 0)
    lengths = np.maximum(both.sum(-1), 1)
    with np.errstate(all="ignore"):
        precision = np.where(both, matches / answers, 0.0).sum(-1) / lengths
        recall = np.where(both, matches / references, 0.0).sum(-1) / lengths
        values = 100 * (1 + _CHRF_BETA**2) * precision * recall / (_CHRF_BETA**2 * precision + recall)
    values = np.where(precision + recall > 0, values, 0.0)
    return np.where(references[..., 0] > 0, values, np.nan)


class _NoSynonyms:
    """Stands in for WordNet, whose data is a download."""

    def synsets(self, word: str) -> list[Any]:
        return []


class _RememberedStems:
    """Porter's stemmer, which takes most of METEOR's time, run once a word."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stem = lru_cache(maxsize=None)(PorterStemmer().stem)


def _make_meteor() -> Any:
    """Returns METEOR of a row's tokens, reference first."""
    from nltk.translate.meteor_score import single_meteor_score

    stemmer, wordnet = _RememberedStems(), _NoSynonyms()

    def score(reference: list[str], answer: list[str]) -> float:
        return float(single_meteor_score(reference, answer, stemmer=stemmer, wordnet=wordnet))

    return score
