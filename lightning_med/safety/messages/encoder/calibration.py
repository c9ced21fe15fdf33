"""From a network's scores to probabilities that may be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def sum_scores(scores: np.ndarray, levels: Sequence[str]) -> np.ndarray:
    """Returns the scores of the levels in order of their first class, `[messages, levels]`.

    Args:
        scores: Of the classes, `[messages, classes]`.
        levels: Of the classes.
    """
    import numpy as np

    names = np.array(levels)
    return np.stack([np.logaddexp.reduce(scores[:, names == name], axis=1) for name in dict.fromkeys(levels)], axis=1)


def compute_probabilities(
    scores: np.ndarray, levels: Sequence[str], scale: float, shifts: Mapping[str, float]
) -> np.ndarray:
    """Returns the probabilities of the classes, `[messages, classes]`.

    The levels are calibrated, not the classes: there is one ordinary class and two dozen dangers, so that flatter
    scores of classes would make each message more dangerous.

    Args:
        scores: `[messages, classes]`.
        levels: Of the classes.
        scale: Divides the levels' scores (Guo et al., 2017).
        shifts: Added to the scores of levels.
    """
    import numpy as np

    names, sums = list(dict.fromkeys(levels)), sum_scores(scores, levels)
    places = [names.index(level) for level in levels]
    calibrated = sums / scale + np.array([shifts.get(name, 0.0) for name in names])
    shares = calibrated - np.logaddexp.reduce(calibrated, axis=1, keepdims=True)
    found: np.ndarray = np.exp(shares[:, places] + scores - sums[:, places])
    return found
