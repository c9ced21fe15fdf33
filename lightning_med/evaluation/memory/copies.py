"""Verbatim copies: the longest run of words of each answer that stands in a training answer, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_med.evaluation.memory.words import NumberedWords, make_vocabulary, number_words
from lightning_med.evaluation.statistic import Statistic, make_mean
from lightning_med.evaluation.text.words import split_words
from lightning_med.utils.console import Progress

LONG_COPY = 20  # words
SHOWN = 20  # copies with their texts
_CHUNK = 1_000_000  # positions that are looked up at a time
_TEXTS = 5_000  # training answers between two reports of progress


@dataclass(frozen=True)
class Copy:
    """A run of words that an answer has in common with a training answer.

    Attributes:
        row: Of the answer.
        training_row: Of the first training answer that has it.
        words: How many.
        text: The words, in lower case, without punctuation.
    """

    row: int
    training_row: int
    words: int
    text: str


@dataclass(frozen=True)
class Copies:
    """How much of the answers is copied.

    Attributes:
        statistics: `copied_tokens` and `copied_share`, by name.
        longest: The longest copies, one of an answer, the longest first; at most `SHOWN`.
    """

    statistics: dict[str, Statistic]
    longest: list[Copy]


def find_copies(answers: Sequence[str | None], training: Sequence[str], progress: Progress | None = None) -> Copies:
    """Finds the longest verbatim copy of each answer from one training answer. Exact.

    Runs of words grow by one word at a time, on all positions together. Each run that the answers have gets a number,
    made of the number of the run without its last word and of that word, so that equal numbers are equal runs.

    Args:
        answers: As the model wrote them; `None` where there is none.
        training: The training answers, as they were learned.
        progress: Reports training answers that are read, and then the length of the runs.
    """
    present = [row for row, answer in enumerate(answers) if answer is not None]
    texts = [answers[row] or "" for row in present]
    vocabulary = make_vocabulary(texts)
    asked = number_words(texts, vocabulary)
    learned, learned_rows = _number_training(training, vocabulary, progress)
    lengths, at, source = _find_longest(asked, learned, progress)
    values = np.full(len(answers), np.nan)
    values[present] = lengths
    copies = []
    for number in np.argsort(-lengths, kind="stable")[:SHOWN]:
        if not lengths[number]:
            break
        first = at[number] - asked.starts[number]
        words = split_words(texts[number])[first : first + lengths[number]]
        training_row = learned_rows[int(learned.find_texts(source[number]))]
        copies.append(Copy(present[number], training_row, len(words), " ".join(words)))
    share = np.where(np.isnan(values), np.nan, values >= LONG_COPY)
    return Copies({"copied_tokens": make_mean(values), "copied_share": make_mean(share)}, copies)


def _number_training(
    training: Sequence[str], vocabulary: dict[str, int], progress: Progress | None
) -> tuple[NumberedWords, list[int]]:
    """The words of the different training answers, and the first row of each."""
    first: dict[str, int] = {}
    for row, text in enumerate(training):
        first.setdefault(text, row)
    rows = list(first.values())
    parts = []
    for start in range(0, len(rows), _TEXTS):
        if progress:
            progress("training answers", start, len(rows))
        parts.append(number_words([training[row] for row in rows[start : start + _TEXTS]], vocabulary))
    ids = np.concatenate([part.ids for part in parts]) if parts else np.zeros(0, np.int32)
    sizes = np.concatenate([np.diff(part.starts) for part in parts]) if parts else np.zeros(0, np.int64)
    return NumberedWords(ids, np.concatenate([[0], np.cumsum(sizes)])), rows


def _find_longest(
    asked: NumberedWords, learned: NumberedWords, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each text of `asked`: the length of its longest copy, its first position there, and one in `learned`."""
    lengths, at, source = (np.zeros(len(asked.starts) - 1, np.int64) for _ in range(3))
    base = int(asked.ids.max(initial=0)) + 1
    positions, found = np.arange(len(asked.ids)), np.arange(len(learned.ids))
    names, found_names = np.zeros(len(positions), np.int64), np.zeros(len(found), np.int64)  # of the empty run
    length = 0
    while len(positions) and len(found):
        if progress:
            progress(f"runs of {length + 1} words", length, 0)
        positions, keys = _extend(asked.ids, positions, names, length, base)
        runs, names = np.unique(keys, return_inverse=True)
        found, found_names = _look_up(learned.ids, found, found_names, length, base, runs)
        sources = np.full(len(runs), -1, np.int64)
        sources[found_names[::-1]] = found[::-1]  # the first position wins
        shared = sources[names] >= 0
        positions, names = positions[shared], names[shared]
        length += 1
        texts = asked.find_texts(positions)[::-1]
        lengths[texts], at[texts], source[texts] = length, positions[::-1], sources[names[::-1]]
    return lengths, at, source


def _extend(
    ids: np.ndarray, positions: np.ndarray, names: np.ndarray, length: int, base: int
) -> tuple[np.ndarray, np.ndarray]:
    """The positions whose run goes on, and the keys of their runs of one word more."""
    following = ids[positions + length]  # within the array: the word before is none that ends a text
    goes_on = following > 0
    return positions[goes_on], names[goes_on] * base + following[goes_on]


def _look_up(
    ids: np.ndarray, positions: np.ndarray, names: np.ndarray, length: int, base: int, runs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The positions whose longer run is one of `runs`, which are sorted, and its number there."""
    kept, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start in range(0, len(positions) if len(runs) else 0, _CHUNK):
        part = slice(start, start + _CHUNK)
        longer, keys = _extend(ids, positions[part], names[part], length, base)
        places = np.minimum(np.searchsorted(runs, keys), len(runs) - 1)
        equal = runs[places] == keys
        kept.append(longer[equal])
        numbers.append(places[equal])
    return np.concatenate(kept), np.concatenate(numbers)
