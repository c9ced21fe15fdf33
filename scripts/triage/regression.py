"""Softmax regression over hashed features, with weight decay, trained by L-BFGS."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding_bag

from lightning_med.safety.messages.classifier_features import BUCKETS

FOLDS, DECAY, STEPS = 5, 1e-5, 60


def train_regression(features: list[list[int]], labels: list[int], class_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Trains a softmax regression.

    Args:
        features: The buckets of each example's features.
        labels: The class of each example.
        class_weights: `[classes]`, the weight of an example of each class in the loss.

    Returns:
        Weights `[BUCKETS, classes]` and constants `[classes]`.
    """
    # Buckets that occur in no example would keep weights of zero.
    buckets, starts, scales = _pack(features)
    occurring, places = buckets.unique(return_inverse=True)
    idf = compute_idf(features)
    scales = scales * idf[buckets]
    weights = torch.zeros(len(occurring), len(class_weights), requires_grad=True)
    constants = torch.zeros(len(class_weights), requires_grad=True)
    targets = torch.tensor(labels)
    optimizer = torch.optim.LBFGS(
        [weights, constants], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe"
    )  # each entry of the history needs as much memory as the weights

    def closure() -> float:
        optimizer.zero_grad()
        scores = embedding_bag(places, weights, starts, mode="sum", per_sample_weights=scales) + constants
        loss = cross_entropy(scores, targets, class_weights) + DECAY * weights.square().sum()
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    every = torch.zeros(BUCKETS, len(class_weights))
    every[occurring] = weights.detach() * idf[occurring, None]
    return every, constants.detach()


def cross_validate(
    features: list[list[int]], labels: list[int], class_weights: Tensor, progress: Callable[[str, int, int], None]
) -> np.ndarray:
    """Returns the probabilities `[examples, classes]` of each example by a model that was not trained on it."""
    fold = np.random.default_rng(0).integers(0, FOLDS, len(features))
    probabilities = np.zeros((len(features), len(class_weights)))
    for number in range(FOLDS):
        progress("folds", number, FOLDS)
        train, held_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        weights, constants = train_regression([features[i] for i in train], [labels[i] for i in train], class_weights)
        scores = compute_scores([features[i] for i in held_out], weights, constants)
        probabilities[held_out] = scores.softmax(1).numpy()
    return probabilities


def compute_scores(features: list[list[int]], weights: Tensor, constants: Tensor) -> Tensor:
    """Returns the scores `[examples, classes]` before the softmax."""
    buckets, starts, scales = _pack(features)
    return embedding_bag(buckets, weights, starts, mode="sum", per_sample_weights=scales) + constants


def compute_idf(features: list[list[int]]) -> Tensor:
    """Returns the inverse document frequency of each bucket (Spärck Jones, 1972), on average 1 over all occurrences.

    Scaled by it, a rare feature gets a large weight at a small penalty, so that few examples of it are enough.
    """
    counts = torch.zeros(BUCKETS)
    for buckets in features:
        counts[buckets] += 1
    idf = ((len(features) + 1) / (counts + 1)).log()
    return idf * counts.sum() / (idf * counts).sum()


def _pack(features: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """All buckets in one row, where each example begins, and the scale of each bucket."""
    sizes = torch.tensor([max(len(buckets), 1) for buckets in features])
    row = torch.tensor([bucket for buckets in features for bucket in (buckets or [0])])
    return row, sizes.cumsum(0) - sizes, sizes.float().rsqrt().repeat_interleave(sizes)
