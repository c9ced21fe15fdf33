"""Weights & Biases: what it is not given."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from lightning_med.training.loggers.tracker import TrackedRun


@pytest.mark.parametrize(
    ("chosen", "expected"), [({}, (False, True)), ({"SAVE_CODE": "true", "DISABLE_GIT": "false"}, (True, False))]
)
def test_wandb_gets_code_and_changes_only_if_the_user_has_set_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wandb: Any, chosen: dict[str, str], expected: tuple[bool, bool]
) -> None:
    from lightning_med.training.loggers.wandb_tracker import WandbTracker

    for name, value in chosen.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    WandbTracker(TrackedRun(tmp_path))
    settings = wandb.setup().settings  # with None the user's account would decide on the code
    assert (settings.save_code, settings.disable_git) == expected


@pytest.mark.slow
@pytest.mark.usefixtures("wandb")
def test_an_edited_table_of_a_git_checkout_is_not_given_to_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_med.training.loggers.wandb_tracker import WandbTracker

    table, run = tmp_path / "consultations.csv", tmp_path / "tiny" / "version_0"
    run.mkdir(parents=True)
    table.write_text("input,output\n")
    for command in (["init"], ["add", table], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "a"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    table.write_text("input,output\nMy knee hurts.,Rest it.\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SAVE_CODE", "true")  # in a checkout this alone would keep the difference to the commit
    tracker = WandbTracker(TrackedRun(run))
    tracker.log_hyperparams({"model.lr": 3e-3})
    tracker.finalize("success")
    assert list(run.glob("wandb/offline-run-*/*.wandb"))
    assert not [path for path in run.rglob("*") if path.is_file() and b"My knee hurts" in path.read_bytes()]
