"""The classifier's file and its predictions."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from lightning_med.safety import triage
from lightning_med.safety.levels import ORDINARY, URGENT
from lightning_med.safety.messages import classifier
from lightning_med.safety.messages.classifier import LinearClassifier, digest_rules, load_classifier
from lightning_med.safety.messages.danger_rules import load_rulebook, read_rules


def test_the_file_holds_every_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = load_classifier()
    generator = np.random.default_rng(0)
    weights = generator.integers(-127, 128, shipped.weights.shape, dtype=np.int8)
    weights[generator.random(weights.shape) < 0.8] = 0
    weights[:100] = 0
    path = tmp_path / "classifier.safetensors"
    path.write_bytes(
        classifier.serialize_classifier(
            LinearClassifier(weights, shipped.scale, shipped.constants, shipped.names, shipped.limits, shipped.rules)
        )
    )
    monkeypatch.setattr(classifier, "PATH", path)
    read = load_classifier.__wrapped__()
    assert np.array_equal(read.weights, weights)
    assert np.array_equal(read.scale, shipped.scale)
    assert np.array_equal(read.constants, shipped.constants)
    assert (read.names, read.limits, read.rules) == (shipped.names, shipped.limits, shipped.rules)


def test_the_shipped_file_is_what_training_would_write() -> None:
    assert classifier.serialize_classifier(load_classifier()) == classifier.PATH.read_bytes()


def test_probabilities_are_the_softmax_of_the_summed_weights() -> None:
    weights = np.zeros((classifier.BUCKETS, 2), dtype=np.int8)
    weights[[3, 5], 1] = 10, 20
    model = LinearClassifier(weights, np.float32([1, 0.1]), np.float32([0, -1]), ["a", "b"], {}, "")
    found = model.compute_probabilities([3, 4, 5, 6])
    assert found["b"] == pytest.approx(1 / (1 + np.exp(-(30 * 0.1 / 2 - 1))))
    assert found["a"] + found["b"] == pytest.approx(1)


def test_only_what_the_classifier_learns_from_asks_for_new_training(monkeypatch: pytest.MonkeyPatch) -> None:
    digest, rules = digest_rules(), deepcopy(read_rules())
    monkeypatch.setattr(classifier, "read_rules", lambda: rules)
    category = next(iter(rules["categories"].values()))
    category["source"] += ", second edition"
    category["title"] += "!"
    assert digest_rules() == digest
    category["examples"][0] += "!"
    assert digest_rules() != digest


def test_a_verdict_needs_no_torch() -> None:
    code = (
        "import sys; from lightning_med.safety import guard; guard('crushing chest pain', 'Rest.');"
        "print([name for name in ('torch', 'pandas', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_classifier_was_trained_with_these_rules() -> None:
    """If it fails: python scripts/train_triage.py"""
    model = load_classifier()
    assert model.rules == digest_rules()
    assert model.names == [ORDINARY, URGENT, *load_rulebook().categories]


def test_the_classifier_never_lowers_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        LinearClassifier,
        "compute_probabilities",
        lambda self, found: dict.fromkeys(self.names, 0.0) | {"ordinary": 1.0},
    )
    assert triage("crushing chest pain and I am sweating").level == "emergency"
