"""Progress in plain lines, and the progress bar: which is shown, what it says."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import RichProgressBar, Timer, TQDMProgressBar

from lightning_med.training.callbacks import progress
from lightning_med.training.callbacks.plain_progress import PlainProgress
from lightning_med.training.callbacks.progress import ProgressBar, choose_progress
from lightning_med.training.callbacks.throughput import Throughput
from tests.training.callbacks.helpers import fit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


class Clock(L.Callback):
    """A clock by which a training batch takes ten seconds and a validation eighty."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        self.now += 10

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        self.now += 80 / sum(trainer.num_val_batches)


def read_lines(out: str) -> dict[int, str]:
    """Returns what the lines of steps say, by step."""
    return {int(step): text for step, text in re.findall(r"^step (\d+)(?: of \d+)?: (.*)$", out, re.MULTILINE)}


def read_left(out: str) -> dict[int, str | None]:
    """Returns the time left that the lines of steps give."""
    found = {step: re.search(r"(\d+:\d\d:\d\d) left$", text) for step, text in read_lines(out).items()}
    return {step: match and match[1] for step, match in found.items()}


def test_the_time_left_is_that_of_the_steps_so_far_without_the_first(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    fit(folder, tmp_path, [clock, PlainProgress(clock)], max_steps=5)
    assert read_left(capsys.readouterr().out) == {1: None, 2: "0:00:30", 3: "0:00:20", 4: "0:00:10", 5: None}


def test_the_time_left_counts_validations_as_soon_as_one_is_measured(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    trainer = fit(folder, tmp_path, [clock, PlainProgress(clock)], max_epochs=2)
    half = trainer.global_step // 2
    out = capsys.readouterr().out
    seconds = round((10 * half + 80) / half * (half - 1))
    assert read_left(out)[half + 1] == f"0:{seconds // 60:02}:{seconds % 60:02}"
    values = re.findall(r"^validation at step (\d+): perplexity (\S+)$", out, re.MULTILINE)
    assert [int(step) for step, _ in values] == [half, 2 * half]
    assert float(values[-1][1]) == pytest.approx(float(trainer.callback_metrics["val/perplexity"]), abs=0.01)
    assert out.index(f"step {half} of") < out.index(f"validation at step {half}:")


@pytest.mark.parametrize("known", [True, False])
def test_a_limit_of_time_bounds_the_time_left(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    class Forget(L.Callback):
        def on_train_start(self, *args: Any) -> None:
            plain._total = plain._total if known else None

    monkeypatch.setattr(Timer, "time_remaining", lambda self: 15.0)
    clock = Clock()
    plain = PlainProgress(clock)
    fit(folder, tmp_path, [clock, plain, Forget()], max_steps=4, max_time={"hours": 1})
    out = capsys.readouterr().out
    assert read_left(out) == {
        1: None if known else "0:00:15",
        2: "0:00:15",
        3: "0:00:10" if known else "0:00:15",
        4: None,
    }
    assert ("step 2 of 4:" in out) is known


def test_only_the_last_step_is_printed_where_the_interval_is_longer_than_the_fit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = fit(folder, tmp_path, [PlainProgress()], max_steps=3, log_every_n_steps=1)
    every = read_lines(capsys.readouterr().out)
    assert list(every) == [1, 2, 3]
    last = fit(folder, tmp_path, [PlainProgress()], max_steps=3, log_every_n_steps=100)
    assert list(read_lines(capsys.readouterr().out)) == [3]
    likelihood = last.lightning_module.get_likelihood("train")
    mean = likelihood.compute()["loss"]  # over all three steps, kept for a fit that trains on
    assert float(last.callback_metrics["train/loss"]) == pytest.approx(mean)
    assert int(likelihood.tokens) > int(losses.callback_metrics["train/tokens"])


def test_an_interval_of_zero_logs_nothing_and_prints_the_last_step(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(folder, tmp_path, [PlainProgress(), Throughput()], max_steps=2, log_every_n_steps=0)
    lines = read_lines(capsys.readouterr().out)
    assert list(lines) == [2]
    assert "tokens/s" in lines[2]


def test_the_last_step_of_a_fit_that_is_out_of_time_is_printed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stop(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
            trainer.should_stop = trainer.global_step == 2

    fit(folder, tmp_path, [PlainProgress(), Stop()], log_every_n_steps=100)
    assert list(read_lines(capsys.readouterr().out)) == [2]


def test_a_long_evaluation_prints_a_line_every_thirty_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    trainer: Any = SimpleNamespace(
        is_global_zero=True,
        progress_bar_callback=None,
        num_test_batches=[10],
        num_predict_batches=[float("inf")],
    )
    model: Any = SimpleNamespace(speed="35 tokens/s")
    plain = PlainProgress(lambda: now[0])
    plain.setup(trainer, model, "test")
    plain.on_test_start(trainer, model)
    for _ in range(10):
        now[0] += 12
        plain.on_test_batch_end(trainer, model, None, None, 0)
    assert capsys.readouterr().out.splitlines() == [
        "test: 3 of 10 batches, 0:01:24 left",
        "test: 6 of 10 batches, 0:00:48 left",
        "test: 9 of 10 batches, 0:00:12 left",
    ]
    plain.on_predict_start(trainer, model)
    now[0] += 40
    plain.on_predict_batch_end(trainer, model, None, None, 0)
    assert capsys.readouterr().out == "predict: 1 batches, 35 tokens/s\n"


@pytest.mark.parametrize(
    ("bar", "is_terminal", "plain"),
    [
        (None, True, True),
        (ProgressBar(), False, True),
        (ProgressBar(), True, False),
        (RichProgressBar(), False, True),
        (RichProgressBar(), True, False),
        (RichProgressBar(refresh_rate=0), True, True),
        (TQDMProgressBar(), False, False),  # it draws itself into files too
        (TQDMProgressBar(refresh_rate=0), False, True),
    ],
)
def test_lines_are_printed_where_no_bar_is_seen(
    bar: Any, is_terminal: bool, plain: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("plain_progress", "progress"):
        monkeypatch.setattr(f"lightning_med.training.callbacks.{module}.draws_bars", lambda: is_terminal)
    trainer: Any = SimpleNamespace(is_global_zero=True, progress_bar_callback=bar, num_test_batches=[3])
    lines = PlainProgress(iter(range(0, 300, 60)).__next__)
    for callback in (bar, lines) if bar else (lines,):
        callback.setup(trainer, trainer, "test")
    lines.on_test_start(trainer, trainer)
    lines.on_test_batch_end(trainer, trainer, None, None, 0)
    assert (capsys.readouterr().out != "") is plain


def test_other_ranks_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    trainer: Any = SimpleNamespace(is_global_zero=False, progress_bar_callback=None, num_test_batches=[3])
    lines = PlainProgress(iter(range(0, 300, 60)).__next__)
    lines.setup(trainer, trainer, "test")
    lines.on_test_start(trainer, trainer)
    lines.on_test_batch_end(trainer, trainer, None, None, 0)
    assert capsys.readouterr().out == ""


class OwnBar(TQDMProgressBar):
    """A user's bar."""


@pytest.mark.parametrize("bar", [TQDMProgressBar(), RichProgressBar(), OwnBar()])
def test_a_bar_of_the_settings_replaces_ours(bar: Any) -> None:
    def kinds(verb: str, enabled: bool = True) -> list[type]:
        return [type(one) for one in choose_progress(verb, [Timer(), bar], enabled)]

    assert kinds("fit") == [PlainProgress]  # a fit has the callbacks of the settings already
    assert kinds("test") == [type(bar), PlainProgress]
    assert kinds("test", enabled=False) == [PlainProgress]
    ours = [[type(one) for one in choose_progress(verb, [Timer()], True)] for verb in ("fit", "test")]
    assert ours == [[ProgressBar, PlainProgress]] * 2
    assert [type(one) for one in choose_progress("fit", [], False)] == [PlainProgress]


def test_the_bar_counts_the_steps_of_the_whole_fit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "draws_bars", lambda: True)
    seen: list[tuple[str, float, float | None]] = []

    class Probe(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
            task = bar.train_progress_bar
            seen.append((task.description, task.completed, task.total))

    bar = ProgressBar()
    changes = {"accumulate_grad_batches": 2, "max_epochs": 2, "enable_progress_bar": True}
    trainer = fit(folder, tmp_path, [bar, Probe()], **changes)
    half = trainer.global_step // 2
    assert {total for _, _, total in seen} == {2 * half}
    assert [done for _, done, _ in seen] == [batch // 2 for batch in range(1, 4 * half + 1)]  # two batches a step
    assert [name for name, _, _ in seen] == [f"Epoch {epoch}/2, steps" for epoch in (1, 2) for _ in range(2 * half)]
