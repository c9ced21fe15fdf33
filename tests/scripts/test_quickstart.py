"""The quickstart from the fit to the printed answer, with two steps of training."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lightning_med.cli.command import main
from lightning_med.safety.answers.guard import DISCLAIMER
from tests.conftest import ROOT


def test_the_quickstart_prints_perplexities_and_an_answer(
    script: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    module, short = script("quickstart"), ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2"]
    monkeypatch.setattr(module, "main", lambda verb: main([*verb, *short] if verb[0] == "fit" else verb))
    assert module.run_quickstart() == 0
    printed = capsys.readouterr().out
    assert printed.count(DISCLAIMER) == 1
    assert "perplexity before: " in printed
    assert "perplexity after: " in printed
