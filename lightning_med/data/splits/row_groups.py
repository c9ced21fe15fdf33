"""Groups of rows that must stay on one side of the split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightning_med.data.splits.near_duplicates import find_similar_pairs
from lightning_med.data.splits.shingle_sets import ShingleSets, salt_sets

JACCARD = 0.8  # similarity of two questions' shingles from which the rows form a group
MIN_ANSWER = 31  # words of an answer that two different questions do not share by chance
JACCARD_SHARED_ANSWER = 0.5  # the same for two rows that share a long answer


@dataclass(frozen=True)
class Groups:
    """Which rows belong together.

    Attributes:
        labels: `[rows]`, int64, group of each row; groups are numbered from 0 by their first row.
        founders: Rows that are linked to no earlier row. A group has several where a later row joins them.
        near_pairs: Pairs of different questions found to be near-duplicates.
    """

    labels: np.ndarray
    founders: np.ndarray
    near_pairs: int

    @property
    def count(self) -> int:
        return int(self.labels.max(initial=-1)) + 1


def group_rows(questions: np.ndarray, patients: np.ndarray, answers: np.ndarray, sets: ShingleSets | None) -> Groups:
    """Groups rows by equal and similar questions, by patients and by shared long answers.

    Args:
        questions: `[rows]`, uint64, equal where two rows ask the same.
        patients: `[rows]`, uint64, equal where two rows come from one patient; 0 where the patient is unknown.
        answers: `[rows]`, uint64, equal where two rows share a long answer; 0 where the answer is short.
        sets: The questions' shingles; `None` to group by equal questions and patients alone.
    """
    equal = _link_to_first(questions)
    links = [equal, _link_to_first(patients, patients != 0)]
    near_pairs = 0
    if sets is not None:
        distinct = np.setdiff1d(np.arange(len(questions)), equal[:, 1])
        pairs = distinct[find_similar_pairs(sets.select(distinct), JACCARD)]
        shared = np.flatnonzero(_find_shared(answers))
        salted = salt_sets(sets.select(shared), answers[shared])
        links += [pairs, shared[find_similar_pairs(salted, JACCARD_SHARED_ANSWER)]]
        near_pairs = len(pairs)
    edges = np.concatenate(links)
    founder = np.ones(len(questions), dtype=bool)
    founder[edges.max(axis=1)] = False
    labels = label_components(len(questions), edges)
    return Groups(np.unique(labels, return_inverse=True)[1], np.flatnonzero(founder), near_pairs)


def _find_shared(keys: np.ndarray) -> np.ndarray:
    """`[rows]`, bool: rows whose key, other than 0, another row has too."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return (counts[inverse] > 1) & (keys != 0)


def _link_to_first(keys: np.ndarray, selected: np.ndarray | None = None) -> np.ndarray:
    """`[pairs, 2]`: the first row with a key, and each later row with the same key."""
    rows = np.arange(len(keys)) if selected is None else np.flatnonzero(selected)
    _, first, inverse = np.unique(keys[rows], return_index=True, return_inverse=True)
    head = rows[first[inverse]]
    return np.stack([head, rows], axis=1)[head != rows]


def label_components(count: int, edges: np.ndarray) -> np.ndarray:
    """Labels the connected components of a graph.

    Args:
        count: Number of nodes.
        edges: `[edges, 2]`, int64.

    Returns:
        `[count]`, int64, the smallest node of each node's component.
    """
    label = np.arange(count)
    while True:
        before = label.copy()
        lowest = np.minimum(label[edges[:, 0]], label[edges[:, 1]])
        for end in (0, 1):
            np.minimum.at(label, label[edges[:, end]], lowest)
            np.minimum.at(label, edges[:, end], lowest)
        label = label[label]
        if np.array_equal(label, before):
            return label
