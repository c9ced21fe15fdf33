"""check_exactness passes for our network, and fails if its loss differs from the reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lightning_med.model import causal_lm

TINY = ("--layers", "2", "--width", "32", "--heads", "4", "--steps", "3")


def test_the_two_ways_agree(
    script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTNING_MED_CACHE", str(tmp_path))
    assert script("check_exactness").main([*TINY, "--json", str(tmp_path / "exact.json")]) == 0
    found = json.loads((tmp_path / "exact.json").read_text())
    assert found.keys() == {"loss", "gradients", "bf16_loss", "bf16_gradients", "after_steps"}
    assert found["gradients"] > 0  # two ways were compared, not one with itself


@pytest.mark.slow
def test_a_difference_is_told(
    script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("LIGHTNING_MED_CACHE", str(tmp_path))
    module = script("check_exactness")
    nll = causal_lm.compute_nll
    monkeypatch.setattr(module, "compute_nll", lambda network, batch: (nll(network, batch)[0] * 1.0001, None))
    assert module.main([*TINY]) == 1
    assert "OUT OF BOUNDS" in capsys.readouterr().out


def test_wrong_input_is_one_clear_line(script: Callable[[str], ModuleType], capsys: Any) -> None:
    assert script("check_exactness").main(["--steps", "0"]) == 2
    assert "--steps" in capsys.readouterr().err
