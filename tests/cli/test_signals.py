"""A signal during `fit`: the exit status, the saved state, the handlers."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_med.cli.command import main
from lightning_med.training.callbacks.save_on_signal import SaveOnSignal
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


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("verb", ["fit", "test", "export"])
def test_a_signal_while_a_checkpoint_is_read_ends_the_command(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, name: str, code: int
) -> None:
    """It does not make the checkpoint a damaged one, in whose place an older one would be taken."""
    read = []

    def load(path: Path, **options: Any) -> None:
        read.append(path)
        os.kill(os.getpid(), signal.Signals[name])

    last = run / "checkpoints" / "last.ckpt"
    options = {
        "fit": ["--config", run / "config.yaml", "--resume", "auto"],
        "test": ["--ckpt_path", last],
        "export": ["--checkpoint", last, "--output", tmp_path / "export"],
    }
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix == ".ckpt"}
    monkeypatch.setattr(torch, "load", load)
    status, out, err = tiny.command(verb, *options[verb], cwd=tmp_path)
    assert status == code
    assert err.splitlines()[-1] == f"lightning-med: stopped by {name}."
    assert "not a whole checkpoint" not in out + err
    assert len(read) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix == ".ckpt"} == before


def test_a_fit_in_a_thread_works_without_signals(folder: Path, tmp_path: Path) -> None:
    done: list[tuple[int, str, str]] = []
    config = write_small_config(folder, tmp_path)
    thread = threading.Thread(target=lambda: done.append(tiny.command("fit", "--config", config, cwd=tmp_path)))
    thread.start()
    thread.join()
    assert done
    assert done[0][0] == 0, done[0][2]


class Gone(io.StringIO):
    """Standard output whose terminal is closed, or whose reader is ended, at the time of a signal."""

    def __init__(self, error: type[OSError], number: int) -> None:
        super().__init__()
        self.error, self.number, self.gone = error, number, False

    def write(self, text: str) -> int:
        if self.gone:
            raise self.error(self.number, "gone")
        return super().write(text)


@pytest.mark.parametrize(("error", "number"), [(OSError, errno.EIO), (BrokenPipeError, errno.EPIPE)])
def test_the_state_is_saved_although_nobody_reads_the_output(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError], number: int
) -> None:
    out, err = Gone(error, number), Gone(error, number)
    receive = SaveOnSignal._receive

    def lose(*args: Any) -> None:
        out.gone = err.gone = True
        receive(*args)

    monkeypatch.setattr(SaveOnSignal, "_receive", lose)
    config = write_small_config(folder, tmp_path, max_steps=6)
    argv = ["fit", "--config", str(config), *make_signal_options("SIGHUP")]
    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(argv) == 129
    last = next(tmp_path.rglob("last.ckpt"))
    assert torch.load(last, weights_only=True)["global_step"] == 2


def test_a_fit_goes_on_when_its_terminal_is_closed_without_a_signal(folder: Path, tmp_path: Path) -> None:
    """As one that the shell has disowned."""
    out = Gone(OSError, errno.EIO)
    out.gone = True
    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        assert main(["fit", "--config", str(write_small_config(folder, tmp_path))]) == 0
    assert torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)["global_step"] == 2
