"""The nearest neighbour: the answer to the training question that is most like the question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BLOCK = 256  # questions whose similarities to all training questions are in memory at once


def find_nearest(questions: Sequence[str], training: Sequence[str]) -> np.ndarray:
    """Finds the nearest training question of each question, by cosine similarity of TF-IDF over words and their pairs.

    Args:
        questions: Any number.
        training: At least one.

    Returns:
        `[questions]`, int64, places in `training`; the first of several.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    weights = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True, dtype=np.float64)
    try:
        theirs = weights.fit_transform(training)
    except ValueError:  # no training question has a word
        return np.zeros(len(questions), np.int64)
    ours, found = weights.transform(questions), np.zeros(len(questions), np.int64)
    for start in range(0, len(questions), _BLOCK):
        similar = (ours[start : start + _BLOCK] @ theirs.T).toarray()
        found[start : start + _BLOCK] = np.argmax(np.round(similar, 9), 1)
    return found


def find_nearest_vectors(questions: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Finds the nearest training question of each question by the vectors of an encoder.

    Args:
        questions: `[questions, width]`, normalized.
        training: `[training, width]`, normalized.

    Returns:
        `[questions]`, int64, places in `training`; the first of several.
    """
    blocks = [questions[start : start + _BLOCK] @ training.T for start in range(0, len(questions), _BLOCK)]
    return np.concatenate([np.argmax(np.round(block, 6), 1) for block in blocks] or [np.zeros(0, np.int64)])
