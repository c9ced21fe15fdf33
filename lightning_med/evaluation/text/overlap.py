"""Overlap of answers with the references: ROUGE, BLEU, NIST, METEOR, chrF."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from lightning_med.evaluation.statistic import Combine, Statistic, make_mean
from lightning_med.evaluation.text.ngram_sums import (
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
    rows = [row for row, answer in enumerate(answers) if answer is not None]
    rouge, bleu_sums, chrf_sums, ngram_sums, meteor = [], [], [], [], []
    for done, (answer, row) in enumerate(zip([answers[row] or "" for row in rows], rows, strict=True)):
        if progress:
            progress("overlap", done, len(rows))
        scores = rouge_score(answer, references[row], rouge_keys=_ROUGE)
        rouge.append([float(scores[f"{name}_fmeasure"]) for name in _ROUGE])
        bleu_sums += bleu._extract_corpus_statistics([answer], [[references[row]]])
        chrf_sums += chrf._extract_corpus_statistics([answer], [[references[row]]])
        line = tokenize(answer.lower())
        ngram_sums.append(sum_row(count_ngrams(line), ngrams[row], weights))
        meteor.append(score_meteor(tokens[row].split(), line.split()))
    sums = np.array(ngram_sums, float).reshape(len(rows), -1)

    def place(values: Any) -> np.ndarray:
        """Puts the columns of the rows that have a value between NaN for the others."""
        values = np.asarray(values, float).reshape(len(rows), -1)
        columns = np.full((len(answers), values.shape[1]), np.nan)
        columns[rows] = values
        return columns

    def average(values: Any) -> Statistic:
        return make_mean(place(values)[:, 0])

    found = {name: average(values) for name, values in zip(_ROUGE, np.array(rouge).reshape(-1, 3).T, strict=True)}
    found["bleu"] = Statistic(place(bleu_sums), make_bleu(smooth=True))
    for orders in (2, 4):
        columns = select_bleu(sums, orders)
        found[f"bleu{orders}"] = Statistic(place(columns), make_bleu(smooth=False))
        found[f"sentence_bleu{orders}"] = average(np.nan_to_num(make_bleu(smooth=True)(columns)))
    found["nist4"] = Statistic(place(select_nist(sums)), combine_nist)
    found["meteor"] = average(meteor)
    found["chrf"] = Statistic(place(chrf_sums), combine_chrf)
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
