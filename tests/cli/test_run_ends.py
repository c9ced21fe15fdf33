"""What ends a run: early stopping, its steps and epochs, its time; and how a resumed one takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_med.checkpoints.run_facts import Status, read_facts
from tests import tiny
from tests.cli.test_resume import fit, get_run, load_last, stop_after

PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step", "epoch")


def write_config(folder: Path, patience: int = 2, **trainer: Any) -> Path:
    """Writes the config of a fit of up to six epochs of two steps, which stops early where `patience` is small."""
    arguments = {"monitor": "val/perplexity", "min_delta": 1e6, "patience": patience}
    stopping = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": arguments}
    content = tiny.settings(folder, max_epochs=6, accumulate_grad_batches=4, callbacks=[stopping], **trainer)
    content["samples"] = {"questions": 0}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ends")


@pytest.fixture(scope="module")
def stopped_early(folder: Path) -> Path:
    """Folder of a run that its early stopping ended after three epochs."""
    status, output = fit(write_config(folder), folder)
    assert status == 0, output
    assert "Stopped early, at step 6." in output
    assert load_last(get_run(folder))["epoch"] == 2
    facts = read_facts(get_run(folder))
    assert (facts.status, facts.steps_done, facts.steps_planned) == (Status.FINISHED, 6, 12)
    return folder


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6])
def test_a_run_with_early_stopping_resumes_from_any_step(stopped_early: Path, tmp_path: Path, step: int) -> None:
    """Also from an epoch's end, where Lightning's defaults would judge after the step is saved."""
    config = stopped_early / "small.yaml"
    assert fit(config, tmp_path, *stop_after(step))[0] == 143
    assert load_last(get_run(tmp_path))["global_step"] == step
    assert read_facts(get_run(tmp_path)).status is Status.INTERRUPTED
    status, output = fit(config, tmp_path, "--name", "small", "--resume", "auto")
    assert status == 0, output
    ours, theirs = load_last(get_run(tmp_path)), load_last(get_run(stopped_early))
    for part in PARTS:
        assert tiny.is_equal(ours[part], theirs[part]), part


def test_a_run_that_was_stopped_early_is_finished(stopped_early: Path) -> None:
    config = write_config(stopped_early)
    for more in ((), ("--trainer.max_epochs", 9), ("--trainer.max_steps", 50)):
        status, output = fit(config, stopped_early, "--resume", "auto", *more)
        assert status == 0
        assert "is finished: it was stopped early, at step 6" in output
        assert load_last(get_run(stopped_early))["global_step"] == 6


def test_a_run_that_was_stopped_early_goes_on_with_more_patience(folder: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    assert fit(config, tmp_path)[0] == 0
    write_config(tmp_path, patience=4)
    status, output = fit(config, tmp_path, "--resume", "auto")
    assert status == 0, output
    last = load_last(get_run(tmp_path))
    assert last["global_step"] == 10  # five epochs
    (state,) = (state for name, state in last["callbacks"].items() if name.startswith("EarlyStopping"))
    assert state["patience"] == state["wait_count"] == 4


def test_a_run_out_of_time_is_not_finished(tmp_path: Path) -> None:
    config = write_config(tmp_path, patience=99)
    assert fit(config, tmp_path, *stop_after(3))[0] == 143
    status, output = fit(config, tmp_path, "--resume", "auto", "--trainer.max_time", "00:00:00:00")
    assert status == 0, output
    assert "Out of time, at step 3" in output
    status, output = fit(config, tmp_path, "--resume", "auto")
    assert status == 0, output
    assert load_last(get_run(tmp_path))["global_step"] == 12
    assert read_facts(get_run(tmp_path)).status is Status.FINISHED
    assert "is finished, at step 12" in fit(config, tmp_path, "--resume", "auto")[1]


@pytest.mark.parametrize(("option", "value"), [("max_steps", 4), ("max_epochs", 2), ("max_epochs", 1)])
def test_a_run_that_is_past_a_smaller_limit_is_refused(
    stopped_early: Path, option: str, value: int, tmp_path: Path
) -> None:
    checkpoint = get_run(stopped_early) / "checkpoints" / "last.ckpt"
    options = ("--ckpt_path", checkpoint, f"--trainer.{option}", value)
    status, output = fit(stopped_early / "small.yaml", tmp_path, *options)
    assert status == 2
    assert f"{option} is {value}: nothing is left to do" in output
