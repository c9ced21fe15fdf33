"""`--optimizer` and `--lr_scheduler`: any of torch.optim, saved with the run, and resumed to the bit."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_med.cli import trainer_command
from lightning_med.training.module import DialogueLM
from tests import tiny
from tests.cli.helpers import read_json, run_refused, write_small_config

SGD = ("--optimizer", "torch.optim.SGD", "--optimizer.lr", "0.1", "--optimizer.momentum", "0.9")
STEPS = ("--lr_scheduler", "StepLR", "--lr_scheduler.step_size", "1", "--lr_scheduler.gamma", "0.5")
PLATEAU = ("--lr_scheduler", "ReduceLROnPlateau", "--lr_scheduler.monitor", "val/loss")
IMPATIENT = ("--lr_scheduler.patience", "0", "--lr_scheduler.threshold", "0.99", "--lr_scheduler.factor", "0.5")
SCHEDULES: dict[str, tuple[str, ...]] = {
    "constant": (),
    "by the epoch": STEPS,
    "by the step": (*STEPS, "--lr_scheduler_interval", "step"),
    "plateau": (*PLATEAU, *IMPATIENT),
}
RATES = {  # of eight steps in two epochs, then of four more
    "constant": [0.1] * 12,
    "by the epoch": [0.1] * 4 + [0.05] * 4 + [0.025] * 4,
    "by the step": [0.1 * 0.5**step for step in range(12)],
    "plateau": [0.1] * 8 + [0.05] * 4,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config of four steps an epoch; it gives our own optimizer's settings too, as a saved one does."""
    folder = tmp_path_factory.mktemp("optimizers")
    content = tiny.settings(folder, max_epochs=3)
    content["data"]["batch_tokens"] = 1024
    content["samples"] = {"questions": 0}
    path = folder / "named.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def fit(config: Path, cwd: Path, *options: object) -> str:
    """Runs `fit` to its end, or until a signal; returns its output."""
    cwd.mkdir(exist_ok=True)
    status, out, err = tiny.command("fit", "--config", config, *options, cwd=cwd)
    assert status in (0, 143), err
    return out


def get_run(cwd: Path) -> Path:
    return cwd / "lightning_logs" / "named" / "version_0"


def load_last(cwd: Path) -> dict[str, Any]:
    return torch.load(get_run(cwd) / "checkpoints" / "last.ckpt", weights_only=True)  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_named_optimizer_trains_resumes_and_is_tested(config: Path, tmp_path: Path, schedule: str) -> None:
    options = (*SGD, *SCHEDULES[schedule])
    out = fit(config, tmp_path / "whole", *options)
    assert "optimizer: torch.optim.SGD" in out
    assert "; not used: model.lr 0.003.\n" in out
    with (get_run(tmp_path / "whole") / "metrics.csv").open(newline="") as file:
        rates = [float(row["lr-SGD"]) for row in csv.DictReader(file) if row["lr-SGD"]]
    assert rates == pytest.approx(RATES[schedule])

    cut = tmp_path / "cut"
    fit(config, cut, *options, "--trainer.callbacks+=tests.tiny.Send", "--trainer.callbacks.step=6")
    assert load_last(cut)["global_step"] == 6
    saved = get_run(cut) / "config.yaml"
    content = yaml.safe_load(saved.read_text())
    content["trainer"]["callbacks"] = content["trainer"]["callbacks"][:1]  # without the signal
    saved.write_text(yaml.safe_dump(content))
    fit(saved, cut, "--resume", "auto")
    ours, theirs = load_last(cut), load_last(tmp_path / "whole")
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step"):
        assert tiny.is_equal(ours[part], theirs[part]), part

    last = get_run(cut) / "checkpoints" / "last.ckpt"
    for settings in (("--config", saved), ()):
        status, _, err = tiny.command("test", *settings, "--ckpt_path", last, cwd=cut)
        assert status == 0, err
        assert read_json(get_run(cut) / "test.json")["test/tokens"] > 0


def test_a_config_file_names_them_too(config: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(config.read_text())
    content["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "momentum": 0.9}}
    content["lr_scheduler"] = {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 1}}
    path = tmp_path / "named.yaml"
    path.write_text(yaml.safe_dump(content))
    fit(path, tmp_path, "--lr_scheduler.gamma", 0.5)
    fit(config, tmp_path / "options", *SGD, *STEPS)
    assert tiny.is_equal(load_last(tmp_path)["state_dict"], load_last(tmp_path / "options")["state_dict"])
    assert load_last(tmp_path)["optimizer_states"][0]["param_groups"][0]["momentum"] == 0.9


@pytest.mark.parametrize("changed", [(), (*SGD, "--optimizer.lr", "0.2"), (*SGD, *STEPS)])
def test_a_resumed_run_keeps_its_optimizer(config: Path, tmp_path: Path, changed: tuple[str, ...]) -> None:
    fit(config, tmp_path, *SGD, "--trainer.max_steps", 1)
    more = ("--trainer.max_steps", 2, "--resume", "auto", "--resume_anyway", "true")
    err = run_refused("fit", "--config", config, *changed, *more, cwd=tmp_path)
    assert "is not that of the checkpoint" in err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([*SGD, "--model.lr", "0.1"], "--model.lr has no effect"),
        ([*SGD, "--model.weight_decay=0.1"], "--model.weight_decay has no effect"),
        ([*SGD, "--model.warmup_fraction", "0.1"], "--model.warmup_fraction has no effect"),
        (STEPS, "--lr_scheduler needs --optimizer"),
        (["--lr_scheduler_interval", "step"], "--lr_scheduler_interval needs --optimizer"),
        ([*SGD, "--lr_scheduler_interval", "step"], "--lr_scheduler_interval needs --lr_scheduler"),
        (["--optimizer", "Nonsense"], "Nonsense"),
        (["--optimizer", "os.system"], "Optimizer"),
        ([*SGD, "--optimizer.nonsense", "1"], "nonsense"),
        ([*SGD, "--optimizer.lr", "-1"], "torch.optim.SGD: Invalid learning rate"),
        (["--optimizer", "LBFGS"], "several times in a step"),
        (["--optimizer", "SparseAdam"], "dense gradients"),
        (["--optimizer", "Muon"], "2D parameters"),
        (["--optimizer", "torch.optim.AdamW", "--optimizer.capturable", "true"], "capturable needs a GPU"),
        ([*SGD, "--lr_scheduler", "StepLR"], "step_size"),
        ([*SGD, "--lr_scheduler", "OneCycleLR", "--lr_scheduler.max_lr", "1"], "lr_scheduler.OneCycleLR: You must"),
        ([*SGD, *PLATEAU[:-1], "val_loss"], "cannot monitor val_loss"),
        ([*SGD, *PLATEAU[:-1], "lr"], "val/perplexity"),
        ([*SGD, "--lr_scheduler", "torch.optim.lr_scheduler.ReduceLROnPlateau"], "lr_scheduler.monitor"),
        ([*SGD, *PLATEAU, "--lr_scheduler_interval", "step"], "once an epoch"),
        ([*SGD, *PLATEAU, "--data.val_fraction", "0"], "needs validations"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, (list, tuple)) else value,
)
def test_what_cannot_be_honoured_is_refused(folder: Path, tmp_path: Path, options: Any, named: str) -> None:
    assert named in run_refused("fit", "--config", write_small_config(folder, tmp_path), *options, cwd=tmp_path)


def test_no_note_on_settings_that_nobody_gave(folder: Path, tmp_path: Path) -> None:
    config = write_small_config(folder, tmp_path, max_steps=1)
    content = yaml.safe_load(config.read_text())
    del content["model"]["lr"]
    config.write_text(yaml.safe_dump(content))
    assert "optimizer: torch.optim.SGD, at a constant rate.\n" in fit(config, tmp_path, *SGD)
    saved = tmp_path / "lightning_logs" / "small" / "version_0" / "config.yaml"
    assert "lr: 0.0005" in saved.read_text()
    assert "not used" not in fit(saved, tmp_path, "--resume", "auto", "--trainer.max_steps", "2")


class Plain(DialogueLM):
    """Trains as its parent does."""


class OwnSGD(DialogueLM):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Inherited(OwnSGD):
    """Has its parent's optimizer."""


class Manual(DialogueLM):
    def __init__(self, base: str | None = None, from_scratch: dict[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(base, from_scratch, **settings)
        self.automatic_optimization = False


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (OwnSGD, "--optimizer would replace OwnSGD.configure_optimizers"),
        (Inherited, "--optimizer would replace Inherited.configure_optimizers"),
        (Manual, "Manual.automatic_optimization is off"),
    ],
)
def test_a_subclass_keeps_its_own_optimizer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[DialogueLM], named: str
) -> None:
    monkeypatch.setattr(trainer_command, "DialogueLM", kind)
    assert named in run_refused("fit", "--config", write_small_config(folder, tmp_path), *SGD, cwd=tmp_path)


def test_a_subclass_without_one_takes_the_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_command, "DialogueLM", Plain)
    assert "optimizer: torch.optim.SGD" in fit(write_small_config(folder, tmp_path), tmp_path, *SGD)


def test_a_schedule_that_ends_before_the_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    """Only the prepared data tell how many steps there are."""
    cycle = ("--lr_scheduler", "OneCycleLR", "--lr_scheduler.max_lr", "1", "--lr_scheduler.total_steps", "5")
    config = write_small_config(folder, tmp_path, max_steps=6)
    argv = ("fit", "--config", config, *SGD, *cycle, "--lr_scheduler_interval", "step")
    assert "total steps is 5" in run_refused(*argv, cwd=tmp_path)
    assert tiny.command(*argv, "--trainer.max_steps", 5, cwd=tmp_path)[0] == 0


def test_a_rate_that_would_not_be_the_settings_is_refused(folder: Path, tmp_path: Path) -> None:
    finder = "--trainer.callbacks+=lightning.pytorch.callbacks.LearningRateFinder"
    err = run_refused("fit", "--config", write_small_config(folder, tmp_path), finder, cwd=tmp_path)
    assert "LearningRateFinder" in err
