"""From scores of classes to probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_med.safety.messages.encoder.calibration import compute_probabilities

LEVELS = ["ordinary", "urgent", "emergency", "emergency", "emergency"]
SCORES = np.array([[2.0, 0.5, -1.0, -2.0, 0.0], [-3.0, 0.0, 4.0, 3.0, -50.0]])


def test_without_calibration_it_is_the_softmax() -> None:
    wanted = np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True)
    np.testing.assert_allclose(compute_probabilities(SCORES, LEVELS, 1.0, {}), wanted)


def test_a_scale_flattens_the_levels_and_not_the_classes() -> None:
    """Else a message with one ordinary class against three dangers would become more dangerous than it is."""
    flat = compute_probabilities(np.zeros((1, 5)), LEVELS, 1e9, {})[0]
    assert flat[0] == pytest.approx(1 / 3)
    assert flat[2:].sum() == pytest.approx(1 / 3)
    before, after = (compute_probabilities(SCORES, LEVELS, scale, {}) for scale in (1.0, 2.0))
    np.testing.assert_allclose(after[:, 2] / after[:, 3], before[:, 2] / before[:, 3])


def test_a_shift_multiplies_the_odds_of_a_level() -> None:
    before, after = (compute_probabilities(SCORES, LEVELS, 1.0, shifts) for shifts in ({}, {"emergency": np.log(2)}))
    np.testing.assert_allclose(after[:, 2:].sum(1) / after[:, 0], 2 * before[:, 2:].sum(1) / before[:, 0], rtol=1e-9)
    np.testing.assert_allclose(after.sum(1), 1)
