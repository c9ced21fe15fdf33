"""How sure the classifier may be: cross-validation over the letters, and what it says of the scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lightning_med.safety.levels import CRISIS, EMERGENCY, URGENT
from lightning_med.safety.messages.encoder.calibration import sum_scores

FOLDS = 3
SHIFTED = (EMERGENCY, URGENT)  # levels; no letter is harmful
# Set by hand, with the totals of the written messages in view: one letter in five hundred is a crisis, which is too few
# to learn a shift from, and a missed crisis is worse than a kind word too many.
CRISIS_SHIFT = 0.35


def deal_folds(count: int) -> list[np.ndarray]:
    """Returns the rows of each fold, dealt by a fixed seed."""
    fold = np.random.default_rng(0).permutation(count) % FOLDS
    return [np.flatnonzero(fold == number) for number in range(FOLDS)]


def calibrate(scores: np.ndarray, right: Sequence[str], levels: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Returns a divisor of the levels' scores and shifts of some levels, of the highest likelihood (Guo et al., 2017).

    A network is too sure of what it was tuned on, and the written messages hold more dangers than letters do.

    Args:
        scores: `[messages, classes]`, of messages that the network was not tuned on.
        right: The level of each message.
        levels: Of the classes.
    """
    names = list(dict.fromkeys(levels))
    targets = torch.tensor([names.index(level) for level in right])
    sums = torch.tensor(sum_scores(scores.astype(np.float64), levels))
    places = torch.tensor([[float(level == name) for level in names] for name in SHIFTED], dtype=torch.float64)
    fixed = torch.tensor([CRISIS_SHIFT * (level == CRISIS) for level in names], dtype=torch.float64)
    values = torch.zeros(1 + len(SHIFTED), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([values], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        # A weak prior: what a few letters cannot tell stays as it is.
        logits = sums / values[0].exp() + values[1:] @ places + fixed
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum") + values.square().sum()
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    found = values.detach()
    shifts = {name: round(float(value), 3) for name, value in zip(SHIFTED, found[1:], strict=True)}
    return round(float(found[0].exp()), 3), {**shifts, CRISIS: CRISIS_SHIFT}
