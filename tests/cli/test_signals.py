"""A signal during `fit`: the exit status, the saved state, the handlers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from tests.cli.helpers import write_small_config
from tests.signal_fixtures import HANDLED


def make_signal_options(name: str, step: int = 2) -> list[str]:
    """Returns options for a callback that sends a signal in a step; a user's own class must be on the command line."""
    options = {"": "tests.tiny.Send", ".name": name, ".step": str(step)}
    return [f"--trainer.callbacks{'' if key else '+'}{key}={value}" for key, value in options.items()]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138), ("SIGHUP", 129)])
def test_a_signal_saves_the_state_and_sets_the_exit_status(folder: Path, tmp_path: Path, name: str, code: int) -> None:
    config = write_small_config(folder, tmp_path, max_steps=6)
    status, out, err = tiny.command("fit", "--config", config, *make_signal_options(name), cwd=tmp_path)
    assert status == code, err
    assert "Traceback" not in out + err
    run = tmp_path / "lightning_logs" / "small" / "version_0"
    last = run / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 2
    assert {path.name for path in run.iterdir()} >= {"config.yaml", "metrics.csv"}
    status, _, err = tiny.command("fit", "--config", config, "--resume", "auto", cwd=tmp_path)
    assert status == 0, err
    assert torch.load(last, weights_only=True)["global_step"] == 6


def test_an_interrupted_fit_restores_the_signal_handlers(
    folder: Path, tmp_path: Path, handlers: dict[signal.Signals, Any]
) -> None:
    assert (
        tiny.command(
            "fit", "--config", write_small_config(folder, tmp_path), *make_signal_options("SIGTERM"), cwd=tmp_path
        )[0]
        == 143
    )
    assert {number: signal.getsignal(number) for number in HANDLED} == handlers
