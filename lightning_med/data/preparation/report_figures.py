"""Figures of the data report: lengths, openings, how far the splits' vocabularies lie apart."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from lightning_med.data.preparation.token_shard import Shard
from lightning_med.data.splits.group_split import SPLITS
from lightning_med.privacy.mask import mask
from lightning_med.privacy.word_lists import read_ordinary_words

_BINS = 40
_OPENINGS = 15  # shown
_KEPT = 100_000  # different openings remembered before the rare ones are forgotten
_SHIFTED = 12  # words shown
_LEAST = 50  # uses of a word before its share says anything


class TokenStatistics:
    """Collects what is said of the tokens while they are written.

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

    def tokens(self) -> dict[str, dict[str, int]]:
        """By split: tokens in all (the prompt's included), of questions, of answers, and rows cut to length."""
        names = ("total", "question", "answer")
        return {
            split: {**dict(zip(names, kept.tolist(), strict=True)), "cut": self._cut[split]}
            for split, kept in self._kept.items()
        }

    def lengths(self) -> dict[str, Any]:
        """Histograms of the tokens of question, answer and whole row before cutting, by split; percentiles over all."""
        splits, found = self._split(), {}
        together = np.concatenate(list(splits.values()))
        for column, name in enumerate(("question", "answer", "total")):
            values = together[:, column]
            top = int(values.max(initial=0))
            edges = np.unique(np.linspace(0, max(top, _BINS), _BINS + 1).astype(int))
            found[name] = {
                "edges": edges.tolist(),
                **{split: np.histogram(rows[:, column], edges)[0].tolist() for split, rows in splits.items()},
                **{f"p{p}": int(np.percentile(values, p)) if len(values) else 0 for p in (50, 90, 99)},
                "max": top,
            }
        return found

    def vocabulary(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """How far validation and test lie from training, in tokens used, and the words that differ most in test."""
        train = self._uses["train"]
        found: dict[str, Any] = {
            split: {"divergence": _compute_divergence(train, uses), "unseen": _compute_share(uses[train == 0], uses)}
            for split, uses in self._uses.items()
            if split != "train"
        }
        test = self._uses["test"]
        one, other = train / max(train.sum(), 1), test / max(test.sum(), 1)
        common = np.flatnonzero((train >= _LEAST) & (test >= _LEAST))
        order = common[np.argsort(-np.abs(np.log(other[common] / one[common])), kind="stable")]
        shifted = []
        for token in order:
            word = tokenizer.decode([int(token)])
            if word.startswith(" ") and word.strip().lower() in read_ordinary_words():  # a name is none
                shifted.append({"word": word.strip(), "train": float(one[token]), "test": float(other[token])})
            if len(shifted) == _SHIFTED:
                break
        return {**found, "shifted": shifted}

    def _split(self) -> dict[str, np.ndarray]:
        return {split: np.concatenate([np.empty((0, 3), np.int32), *rows]) for split, rows in self._lengths.items()}


def _compute_share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / max(whole.sum(), 1))


def _compute_divergence(one: np.ndarray, other: np.ndarray) -> float:
    """The Jensen-Shannon divergence of two counts, in bits; 0 where one of them is empty."""
    if not one.sum() or not other.sum():
        return 0.0
    p, q = one / one.sum(), other / other.sum()
    middle = (p + q) / 2
    bits = [float(np.sum(a[a > 0] * np.log2(a[a > 0] / middle[a > 0]))) for a in (p, q)]
    return max(sum(bits) / 2, 0.0)


class Openings:
    """How answers begin, counted in bounded memory: openings that stay rare are forgotten."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, counts: Counter[str]) -> None:
        self._counts += counts
        if len(self._counts) > _KEPT:
            self._counts = Counter(dict(self._counts.most_common(_KEPT // 5)))

    def most(self) -> list[dict[str, Any]]:
        """The most frequent, without private data, those that occur once left out."""
        masked: Counter[str] = Counter()
        for text, count in self._counts.most_common(2 * _OPENINGS):
            masked[mask(text, answer=True)[0]] += count
        ranked = sorted(masked.items(), key=lambda item: (-item[1], item[0]))[:_OPENINGS]
        return [{"text": text, "count": count} for text, count in ranked if text and count > 1]
