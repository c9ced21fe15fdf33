"""Flags for degenerate answers: sets of answers that a metric may reward and no reader would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

from lightning_med.evaluation.text.words import list_sequences, measure_repetition, split_words

# Thresholds of one answer, far above what 8,325 real answers of three forums show
REPETITION = 0.2  # of its 4-grams were there before; the most repetitive doctor has 0.094, 99 % have below 0.03
COPY = 0.5  # of its 4-grams stand in the question; the doctor who quotes most has 0.23, 99 % have below 0.02
STOCK = 0.6  # of its 4-grams stand in many answers; real ones have up to 0.08. The rest is room for a name or a number
MANY = 0.2  # of all answers, so that a handful of replies in turn are found too
EXTREME = 0.01  # quantile of the references' words below which an answer is short, and above whose mirror it is long

# The share of answers, beyond that of the references, from which a set of answers is flagged
EXCESS = {
    "empty": 0.01,  # none is acceptable; one in a hundred is worth a look
    "repetition": 0.05,
    "copy": 0.05,
    "constant": 0.5,  # most questions
    "short": 0.25,  # of the references 1 % are, by the definition
    "long": 0.25,
}
_LEAST = 3  # answers that share a sequence before it counts as one of many
_BY_QUANTILE, _LEAST_ROWS = ("short", "long"), 5  # below so many references their quantiles mean nothing

Words = list[str]


@dataclass(frozen=True)
class Flag:
    """What is wrong with a set of answers.

    Attributes:
        kind: `empty`, `repetition`, `copy`, `constant`, `short` or `long`.
        share: Of the answers.
        text: A sentence.
    """

    kind: str
    share: float
    text: str


def find_flags(
    questions: Sequence[str],
    answers: Sequence[str | None],
    references: Sequence[str],
    ended: Sequence[bool | None] | None = None,
) -> list[Flag]:
    """Finds what makes a set of answers degenerate, measured beside the references, which raise no flag themselves.

    Args:
        questions: One a row.
        answers: `None` for a row that has no value.
        references: One a row.
        ended: Whether an answer was over before the limit on its tokens.

    Returns:
        Flags in the order of `EXCESS`.
    """
    rows = [row for row, answer in enumerate(answers) if answer is not None]
    texts = [answers[row] or "" for row in rows]
    asked = [split_words(questions[row]) for row in rows]
    given, expected = ([split_words(text) for text in side] for side in (texts, [references[row] for row in rows]))
    marked, usual = (_mark(asked, side, expected) for side in (given, expected))
    flags = []
    for kind, excess in EXCESS.items():
        share, other = (sum(side[kind]) / max(len(rows), 1) for side in (marked, usual))
        if share - other >= excess and (kind not in _BY_QUANTILE or len(rows) >= _LEAST_ROWS):
            picked = [row for row, is_so in enumerate(marked[kind]) if is_so]
            text = f"{share:.1%} of the answers {_MEANING[kind]}; of the references {other:.1%}."
            unended = 0 if ended is None else sum(ended[rows[row]] is False for row in picked)
            if unended and kind in ("repetition", "short", "long"):
                text += f" {unended} of {len(picked)} such answers were cut off at the limit of tokens."
            flags.append(Flag(kind, share, text))
    return flags


_MEANING = {
    "empty": "have no word",
    "repetition": f"repeat themselves: {REPETITION:.0%} or more of their sequences of four words were there before",
    "copy": f"copy the question: {COPY:.0%} or more of their sequences of four words stand in it",
    "constant": "are one and the same reply, or one of a few, whatever the question",
    "short": f"are shorter than {1 - EXTREME:.0%} of the references",
    "long": f"are longer than {1 - EXTREME:.0%} of the references",
}


def _mark(questions: list[Words], answers: list[Words], references: list[Words]) -> dict[str, list[bool]]:
    """Returns for each kind whether each answer is so."""
    lengths = [len(words) for words in references]
    cuts = quantiles(lengths, n=round(1 / EXTREME), method="inclusive") if len(lengths) > 1 else lengths * 2
    return {
        "empty": [not words for words in answers],
        "repetition": [measure_repetition(words) >= REPETITION for words in answers],
        "copy": [_is_copy(words, question) for words, question in zip(answers, questions, strict=True)],
        "constant": _find_stock(questions, answers),
        "short": [0 < len(words) < cuts[0] for words in answers],
        "long": [len(words) > cuts[-1] for words in answers],
    }


def _is_copy(words: Words, question: Words) -> bool:
    sequences = list_sequences(words, 4)
    if not sequences:  # a short answer shares single words with any question
        return bool(words) and words == question
    known = set(list_sequences(question, 4))
    return bool(sequences) and sum(map(known.__contains__, sequences)) / len(sequences) >= COPY


def _find_stock(questions: list[Words], answers: list[Words]) -> list[bool]:
    """Returns which answers consist of what many answers to other questions say."""
    sequences = [_list_fours(words) for words in answers]
    different = {" ".join(question): row for row, question in enumerate(questions)}  # equal ones may be answered alike
    spread = Counter(four for row in different.values() for four in set(sequences[row]))
    many = max(MANY * len(different), _LEAST)
    return [bool(row) and sum(spread[four] >= many for four in row) / len(row) >= STOCK for row in sequences]


def _list_fours(words: Words) -> list[tuple[str, ...]]:
    """Returns the sequences of four words; the whole of a shorter text."""
    return list_sequences(words, 4) or ([tuple(words)] if words else [])
