"""The words of a message that a person would give as the reason of a verdict, or none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lightning_med.privacy.word_lists import make_word_set

if TYPE_CHECKING:
    import numpy as np

_SENTENCE = re.compile(r"[^.!?;\n]+")
_WORD = re.compile(r"[\w'’]+")
_MAX_WORDS = 12
_LEAST_SHARE = 0.25  # of all that speaks for the class, or there is no one reason
_LEAST_WORDS = 2
# Words that neither begin nor end a quotation.
_EDGES = make_word_set(
    "a an the and or but so of to in on at for from with by as is am are was be been it its i my me he she his her they"
    " their we our you your that this which who if then than there have has had do does did also just very"
)


def find_reason(text: str, spans: np.ndarray, weights: np.ndarray) -> str:
    """Returns up to twelve successive words of one sentence that speak most for a class, as written; maybe none.

    Args:
        text: The message.
        spans: `[tokens, 2]`, of each token's characters, in order.
        weights: `[tokens]`, what each token adds to the class's score.
    """
    best, quotation, sums_before = 0.0, "", [0.0, *weights.cumsum()]
    for sentence in _SENTENCE.finditer(text):
        words = list(_WORD.finditer(text, *sentence.span()))
        first = spans[:, 0].searchsorted([word.start() for word in words])
        after = spans[:, 0].searchsorted([word.end() for word in words])
        sums = [float(sums_before[end] - sums_before[start]) for start, end in zip(first, after, strict=True)]
        found = _find_best_run(sums, [word[0].lower() in _EDGES for word in words])
        if found and found[0] > best:
            best, quotation = found[0], text[words[found[1]].start() : words[found[2]].end()]
    return quotation if best >= _LEAST_SHARE * float(weights[weights > 0].sum()) else ""


def _find_best_run(sums: list[float], edges: list[bool]) -> tuple[float, int, int] | None:
    """The largest sum of successive words, the first and the last of them; `edges` marks words that may be neither."""
    best = None
    for first in range(len(sums)):
        total = 0.0
        for last in range(first, min(first + _MAX_WORDS, len(sums))):
            total += sums[last]
            long_enough = last - first + 1 >= _LEAST_WORDS
            if long_enough and not edges[first] and not edges[last] and (best is None or total > best[0]):
                best = total, first, last
    return best
