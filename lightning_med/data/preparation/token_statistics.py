"""Figures of the data report: lengths in tokens, and how much the vocabularies of the splits differ."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from lightning_med.data.preparation.token_shard import Shard
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.privacy.word_lists import read_ordinary_words

_BINS = 40
_SHOWN_WORDS = 12
_MIN_USES = 50  # of a word, below which its share is noise


class TokenStatistics:
    """Collects figures of the tokens while they are written.

    Args:
        vocabulary: Every id is below it.
    """

    def __init__(self, vocabulary: int) -> None:
        self._lengths: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}  # [rows, 3] each, before cutting
        self._kept = {split: np.zeros(3, np.int64) for split in SPLITS}
        self._cut = Counter(dict.fromkeys(SPLITS, 0))
        self._uses = {split: np.zeros(vocabulary, np.int64) for split in SPLITS}

    def add(self, split: str, shard: Shard) -> None:
        """Counts conversations of a split."""
        self._lengths[split].append(shard.whole)
        part = np.concatenate([np.arange(count) % 4 for count in shard.stretches] or [np.empty(0)])
        questions, answers = (int(shard.runs[part == place].sum()) for place in (1, 3))
        self._kept[split] += (len(shard.input_ids), questions, answers)
        self._cut[split] += shard.cut
        self._uses[split] += shard.uses

    def count_tokens(self) -> dict[str, dict[str, int]]:
        """By split: all tokens (with the prompt's), those of questions, of answers, and the number of rows cut."""
        names = ("total", "question", "answer")
        return {
            split: {**dict(zip(names, kept.tolist(), strict=True)), "cut": self._cut[split]}
            for split, kept in self._kept.items()
        }

    def describe_lengths(self) -> dict[str, Any]:
        """Histograms by split and percentiles over all, of the tokens of question, answer and row before cutting."""
        splits = {split: np.concatenate([np.empty((0, 3), np.int32), *rows]) for split, rows in self._lengths.items()}
        together, figures = np.concatenate(list(splits.values())), {}
        for column, name in enumerate(("question", "answer", "total")):
            values = together[:, column]
            maximum = int(values.max(initial=0))
            edges = np.unique(np.linspace(0, max(maximum, _BINS), _BINS + 1).astype(int))
            figures[name] = {
                "edges": edges.tolist(),
                **{split: np.histogram(rows[:, column], edges)[0].tolist() for split, rows in splits.items()},
                **{f"p{p}": int(np.percentile(values, p)) if len(values) else 0 for p in (50, 90, 99)},
                "max": maximum,
            }
        return figures

    def compare_vocabularies(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Compares the tokens of validation and test with training's; lists the words that differ most in test."""
        train, test = self._uses["train"], self._uses["test"]
        figures: dict[str, Any] = {
            split: {
                "divergence": _compute_divergence(train, uses),
                "unseen": _divide(uses[train == 0].sum(), uses.sum()),
            }
            for split, uses in self._uses.items()
            if split != "train"
        }
        in_train, in_test = train / max(train.sum(), 1), test / max(test.sum(), 1)
        common = np.flatnonzero((train >= _MIN_USES) & (test >= _MIN_USES))
        order = common[np.argsort(-np.abs(np.log(in_test[common] / in_train[common])), kind="stable")]
        shifted: list[dict[str, Any]] = []
        for token in order:
            word = tokenizer.decode([int(token)])
            if word.startswith(" ") and word.strip().lower() in read_ordinary_words():  # never a name
                shifted.append({"word": word.strip(), "train": float(in_train[token]), "test": float(in_test[token])})
            if len(shifted) == _SHOWN_WORDS:
                break
        return {**figures, "shifted": shifted}


def _divide(part: int, total: int) -> float:
    return float(part / max(total, 1))


def _compute_divergence(one: np.ndarray, other: np.ndarray) -> float:
    """The Jensen-Shannon divergence of two arrays of counts, in bits; 0 where one of them is empty."""
    if not one.sum() or not other.sum():
        return 0.0
    p, q = one / one.sum(), other / other.sum()
    middle = (p + q) / 2
    bits = [float(np.sum(a[a > 0] * np.log2(a[a > 0] / middle[a > 0]))) for a in (p, q)]
    return max(sum(bits) / 2, 0.0)
