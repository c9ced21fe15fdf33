"""The constant reply: the training answer that is most like all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def find_central_answer(answers: Sequence[str]) -> int:
    """Returns the place of the most central answer; the first of several.

    Central is what has the greatest mean cosine similarity to all answers, over TF-IDF of words. Counts choose very
    long answers and pairs of words very short ones, both weaker baselines. The mean over all pairs is a product with
    the sum of the vectors, so it takes linear time.

    Args:
        answers: At least one.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    weights = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True, dtype=np.float64)
    try:
        vectors = weights.fit_transform(answers)
    except ValueError:  # no answer has a word
        return 0
    centrality = vectors @ np.asarray(vectors.sum(0)).T
    return int(np.argmax(np.round(centrality, 9)))
