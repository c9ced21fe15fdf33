"""Overlap metrics are the libraries' own figures, and their sums give the figure of any set of rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_med.evaluation.metric_list import METRICS
from lightning_med.evaluation.text.overlap import measure_overlap
from tests.evaluation.text.texts import ANSWERS, REFERENCES

NAMES = [
    name
    for name, metric in METRICS.items()
    if metric.section == "overlap" and name not in ("bertscore_f1", "similarity")
]
TOPS = dict.fromkeys(NAMES, 100.0) | {"rouge1": 1, "rouge2": 1, "rougeL": 1, "meteor": 1}


def tokenize(texts: list[str]) -> list[list[str]]:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    return [Tokenizer13a()(text.lower()).split() for text in texts]


def compute_with_libraries(answers: list[str], references: list[str]) -> dict[str, float]:
    """Returns each metric as its library computes it from all texts at once."""
    from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu, sentence_bleu
    from nltk.translate.meteor_score import meteor_score
    from nltk.translate.nist_score import corpus_nist
    from sacrebleu.metrics import BLEU, CHRF
    from torchmetrics.text import ROUGEScore

    class NoSynonyms:
        def synsets(self, word: str) -> list[Any]:
            return []

    found = {"bleu": BLEU().corpus_score(answers, [references]).score}
    found["chrf"] = CHRF().corpus_score(answers, [references]).score
    rouge = ROUGEScore(rouge_keys=("rouge1", "rouge2", "rougeL"))(answers, references)
    found |= {name: float(rouge[f"{name}_fmeasure"]) for name in ("rouge1", "rouge2", "rougeL")}
    ours, theirs = tokenize(answers), tokenize(references)
    pairs = list(zip(theirs, ours, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NLTK on orders without a match
        for orders in (2, 4):
            uniform, smooth = (1 / orders,) * orders, SmoothingFunction().method3
            found[f"bleu{orders}"] = 100 * corpus_bleu([[other] for other in theirs], ours, uniform)
            rows = [sentence_bleu([other], own, uniform, smooth) for other, own in pairs]
            found[f"sentence_bleu{orders}"] = 100 * float(np.mean(rows))
    if max(map(len, ours)) >= 4:  # otherwise NLTK divides by 0
        found["nist4"] = corpus_nist([[other] for other in theirs], ours, 4)
    found["meteor"] = float(np.mean([meteor_score([other], own, wordnet=NoSynonyms()) for other, own in pairs]))
    return found


@pytest.mark.parametrize(
    "answers",
    [
        ANSWERS,
        REFERENCES,
        REFERENCES[1:] + REFERENCES[:1],
        [f"{text} {text}" for text in REFERENCES],  # longer than the references
        ["Hello. See a doctor, please."] * 6,
        ["Rest"] * 6,
        ["?"] * 5 + ["rest it for 2-3 weeks"],
        [*REFERENCES[:5], ""],
    ],
)
def test_every_figure_is_its_librarys(answers: list[str]) -> None:
    found = measure_overlap(answers, REFERENCES)
    assert set(found) == set(NAMES)
    for name, value in compute_with_libraries(answers, REFERENCES).items():
        assert found[name].compute() == pytest.approx(value, rel=1e-6, abs=1e-9), name


def test_sums_of_drawn_rows_are_the_figure_of_the_drawn_texts() -> None:
    found = measure_overlap(ANSWERS, REFERENCES)
    drawn = np.random.default_rng(0).integers(0, len(ANSWERS), (20, len(ANSWERS)))
    for rows in drawn.tolist():
        theirs = compute_with_libraries([ANSWERS[row] for row in rows], [REFERENCES[row] for row in rows])
        for name in NAMES:
            if name != "nist4":  # whose weights stay those of all references
                sums = found[name].columns[rows].sum(0)
                assert found[name].combine(sums) == pytest.approx(theirs[name], rel=1e-6, abs=1e-9), name
    for name, statistic in found.items():
        values = statistic.combine(statistic.columns[drawn].sum(1))
        assert values.shape == (20,)
        assert values[3] == pytest.approx(float(statistic.combine(statistic.columns[drawn[3]].sum(0)))), name


def test_a_reference_as_its_own_answer_is_at_the_top() -> None:
    found = {name: statistic.compute() for name, statistic in measure_overlap(REFERENCES, REFERENCES).items()}
    most = found.pop("nist4")
    assert found.pop("meteor") == pytest.approx(1, abs=1e-4)
    assert found == pytest.approx({name: TOPS[name] for name in found})
    for answers in (ANSWERS, REFERENCES[::-1], [f"{text} {text}" for text in REFERENCES]):
        assert measure_overlap(answers, REFERENCES)["nist4"].compute() < most


def test_empty_answers_score_0() -> None:
    found = measure_overlap([""] * 6, REFERENCES)
    assert {name: statistic.compute() for name, statistic in found.items()} == dict.fromkeys(NAMES, 0.0)


def test_a_row_without_a_value_counts_nowhere_but_in_the_weights_of_nist() -> None:
    some = [*ANSWERS[:4], None, None]
    found, fewer = measure_overlap(some, REFERENCES), measure_overlap(ANSWERS[:4], REFERENCES[:4])
    for name in NAMES:
        assert found[name].present.tolist() == [True] * 4 + [False] * 2
        if name != "nist4":
            assert found[name].compute() == fewer[name].compute(), name
    for statistic in measure_overlap([None] * 6, REFERENCES).values():
        assert np.isnan(statistic.compute())


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    measure_overlap(ANSWERS[:2], REFERENCES[:2], lambda *step: told.append(step))
    assert told == [("overlap", 0, 2), ("overlap", 1, 2)]


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), min_size=1, max_size=4))
def test_any_text_is_in_range(pairs: list[tuple[str, str]]) -> None:
    answers, references = [answer for answer, _ in pairs], [reference for _, reference in pairs]
    for name, statistic in measure_overlap(answers, references).items():
        value = statistic.compute()
        if not np.isnan(value):  # undefined where the references have no word
            assert 0 <= value <= (np.inf if name == "nist4" else TOPS[name] * (1 + 1e-9)), name


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_any_text_is_at_the_top_for_itself(texts: list[str]) -> None:
    texts = [f"{text} see your doctor now" for text in texts]  # at least the four words that BLEU-4 needs
    for name, statistic in measure_overlap(texts, texts).items():
        if name not in ("nist4", "meteor"):
            assert statistic.compute() == pytest.approx(TOPS[name]), name
    assert measure_overlap(texts, texts)["meteor"].compute() >= 1 - 0.5 / 4**3 - 1e-12
