"""A resumed run ends with the weights, the curves and the files of an uninterrupted one."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_med.checkpoints import digests, run_folder
from tests import tiny
from tests.cli.test_bases import save_base

# Eight steps in two epochs, with dropout, a validation within each epoch, and two batches a step.
FIT = {"accumulate_grad_batches": 2, "val_check_interval": 0.5}
DROPOUT = {**tiny.NETWORK, "resid_pdrop": 0.2, "embd_pdrop": 0.2}
_MEASURED = ("train/tokens_per_second", "train/utilisation", "train/data_wait", "train/peak_memory_gib")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    content = tiny.settings(folder, **FIT)
    content["data"]["batch_tokens"] = 256
    content["model"]["from_scratch"] = DROPOUT
    content["samples"] = {"questions": 1, "max_new_tokens": 4}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def fit(config: Path, cwd: Path, *options: object) -> tuple[int, str]:
    """Returns the exit status and the output."""
    status, out, err = tiny.command("fit", "--config", config, *options, cwd=cwd)
    return status, out + err


def stop_after(step: int) -> list[str]:
    """Returns options for a callback that sends SIGTERM in a step."""
    return [f"--trainer.callbacks{k}={v}" for k, v in {"+": "tests.tiny.Send", ".step": step}.items()]


def get_run(cwd: Path, version: int = 0) -> Path:
    return cwd / "lightning_logs" / "small" / f"version_{version}"


def load_last(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)  # type: ignore[no-any-return]


def read_curves(run: Path) -> list[dict[str, str]]:
    """Returns the logged metrics without those that are measured in time or memory."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [{key: value for key, value in row.items() if key not in _MEASURED} for row in csv.DictReader(file)]
    return [row for row in rows if any(value for key, value in row.items() if key not in ("step", "epoch"))]


@pytest.fixture(scope="module")
def uninterrupted(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an uninterrupted run."""
    place = tmp_path_factory.mktemp("uninterrupted")
    status, output = fit(config, place)
    assert status == 0, output
    return get_run(place)


@pytest.fixture(scope="module")
def total(uninterrupted: Path) -> int:
    """Steps of an uninterrupted run."""
    return int(load_last(uninterrupted)["global_step"])


@pytest.mark.parametrize("where", ["first", "validated", "third", "epoch's end", "second epoch", "last but one"])
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    config: Path, uninterrupted: Path, total: int, tmp_path: Path, where: str
) -> None:
    steps = {"first": 1, "validated": total // 4, "third": 3, "epoch's end": total // 2}
    step = {**steps, "second epoch": total // 2 + 1, "last but one": total - 1}[where]
    assert fit(config, tmp_path, *stop_after(step))[0] == 143
    assert load_last(get_run(tmp_path))["global_step"] == step
    status, output = fit(config, tmp_path, "--resume", "auto")
    assert status == 0, output
    ours, theirs = load_last(get_run(tmp_path)), load_last(uninterrupted)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step", "epoch"):
        assert tiny.is_equal(ours[part], theirs[part]), part
    assert read_curves(get_run(tmp_path)) == read_curves(uninterrupted)
    assert [path.name for path in get_run(tmp_path).parent.iterdir()] == ["version_0"]
    names = [{path.name for path in (run / "checkpoints").iterdir()} for run in (get_run(tmp_path), uninterrupted)]
    assert names[0] == names[1]


def test_a_resumed_run_keeps_the_bases_own_safety(config: Path, tmp_path: Path) -> None:
    """The base is asked before the first step alone, and a resume after a validation keeps that one's points."""
    base = ["--model.from_scratch", "null", "--model.base", save_base(tmp_path)]
    options = [*base, "--trainer.max_steps", 3, "--trainer.val_check_interval", 4]
    for place in ("whole", "stopped"):
        (tmp_path / place).mkdir()
    assert fit(config, tmp_path / "whole", *options)[0] == 0
    assert fit(config, tmp_path / "stopped", *options, *stop_after(2))[0] == 143
    status, output = fit(config, tmp_path / "stopped", *options, "--resume", "auto")
    assert status == 0, output
    ours, theirs = (read_curves(get_run(tmp_path / place)) for place in ("stopped", "whole"))
    assert ours == theirs
    measured = [row["step"] for row in ours if row["safety/dose"]]
    assert measured == ["0", *(row["step"] for row in ours if row["val/loss"])]
    assert "1" in measured  # the step after which the run was stopped


def test_early_stopping_keeps_its_state(config: Path, tmp_path: Path) -> None:
    """A resumed run stops at the same step as an uninterrupted one, and is then finished."""
    content = yaml.safe_load(config.read_text())
    arguments = {"monitor": "val/perplexity", "min_delta": 1e6, "patience": 2}
    content["trainer"]["callbacks"] = [
        {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": arguments}
    ]
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    for place in ("uninterrupted", "stopped"):
        (tmp_path / place).mkdir()
    assert fit(path, tmp_path / "uninterrupted")[0] == 0
    ended = load_last(get_run(tmp_path / "uninterrupted"))
    last = int(ended["global_step"])
    for step in (last // 3, 2 * last // 3 + 1):  # around each of the first two validations
        options = ("--resume", "auto") if step > last // 3 else ()
        assert fit(path, tmp_path / "stopped", *options, *stop_after(step))[0] == 143
    status, output = fit(path, tmp_path / "stopped", "--resume", "auto")
    assert status == 0, output
    ours = load_last(get_run(tmp_path / "stopped"))
    assert ours["global_step"] == last < 3 * last
    assert tiny.is_equal(ours["state_dict"], ended["state_dict"])
    assert "is finished" in fit(path, tmp_path / "stopped", "--resume", "auto")[1]


def test_a_finished_run_is_reported_and_trains_on_with_more_epochs(config: Path, total: int, tmp_path: Path) -> None:
    assert fit(config, tmp_path)[0] == 0
    before = (get_run(tmp_path) / "metrics.csv").read_bytes()
    status, output = fit(config, tmp_path, "--resume", "auto")
    assert status == 0
    assert f"is finished, at step {total}" in output
    assert (get_run(tmp_path) / "metrics.csv").read_bytes() == before
    assert fit(config, tmp_path, "--resume", "auto", "--trainer.max_epochs", 3)[0] == 0
    assert load_last(get_run(tmp_path))["epoch"] == 2
    assert len(run_folder.list_versions(get_run(tmp_path).parent)) == 1


def test_without_a_run_or_a_checkpoint_training_starts_from_the_beginning(
    config: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    status, output = fit(config, tmp_path, "--resume", "auto", "--trainer.max_steps", 2)
    assert status == 0, output
    for path in (get_run(tmp_path) / "checkpoints").iterdir():
        path.unlink()  # as after a kill before the first save
    status, output = fit(config, tmp_path, "--resume", "auto")
    assert status == 0, output
    assert "no checkpoint yet" in output
    assert read_curves(get_run(tmp_path)) == read_curves(uninterrupted)


def test_checkpoint_every_sets_the_interval_of_the_callback(config: Path, tmp_path: Path) -> None:
    assert fit(config, tmp_path, "--checkpoint_every", 1, "--trainer.max_steps", 3)[0] == 0
    assert {path.name for path in (get_run(tmp_path) / "checkpoints").glob("step-*.ckpt")} >= {
        "step-2.ckpt",
        "step-3.ckpt",
    }
    saved = yaml.safe_load((get_run(tmp_path) / "config.yaml").read_text())
    assert saved["checkpoint"]["every_n_train_steps"] == 1
    assert not {"resume", "resume_anyway", "ckpt_path", "checkpoint_every"} & set(saved)


# ------------------------------------------------------------------ damage


def cut_in_half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip_bit(content: bytes) -> bytes:
    index = len(content) // 3
    return content[:index] + bytes([content[index] ^ 4]) + content[index + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": cut_in_half,
    "16 bytes short": lambda content: content[:-16],
    "garbage": lambda content: b"\x00garbage" * 1000,
    "one bit": flip_bit,
}


@pytest.fixture(scope="module")
def stopped(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working folder of a run that was stopped in its third step."""
    place = tmp_path_factory.mktemp("stopped")
    assert fit(config, place, "--checkpoint_every", 1, *stop_after(3))[0] == 143
    return place


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_by_name_and_resume_uses_the_previous_one(
    config: Path, uninterrupted: Path, stopped: Path, tmp_path: Path, damage: str
) -> None:
    place = tmp_path / "copy"
    shutil.copytree(stopped, place, symlinks=True)
    last = get_run(place) / "checkpoints" / "step-3.ckpt"
    last.write_bytes(DAMAGES[damage](last.read_bytes()))
    for verb in ("fit", "test", "predict"):
        status, _, err = tiny.command(verb, "--config", config, "--ckpt_path", last, cwd=tmp_path)
        assert status == 2
        assert "step-3.ckpt is damaged" in err
    export = tmp_path / "export"
    status, _, err = tiny.command("export", "--checkpoint", last.with_name("last.ckpt"), "--output", export)
    assert status == 2
    assert "step-3.ckpt is damaged" in err
    assert not export.exists()
    status, output = fit(config, place, "--resume", "auto")
    assert status == 0, output
    assert "step-3.ckpt is damaged" in output
    assert "step-2.ckpt" in output
    assert tiny.is_equal(load_last(get_run(place))["state_dict"], load_last(uninterrupted)["state_dict"])
    assert read_curves(get_run(place)) == read_curves(uninterrupted)


def test_a_checkpoint_without_a_digest_is_reported_as_unverified(stopped: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.ckpt"
    path.write_bytes((get_run(stopped) / "checkpoints" / "step-3.ckpt").read_bytes())
    _, out, _ = tiny.command("export", "--checkpoint", path, "--output", tmp_path / "export")
    assert "mine.ckpt is unverified" in out
    assert not digests.verify_digest(path)


# ------------------------------------------------------------------ mixtures


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--seed_everything", "7"], "seed '42' there and '7' here"),
        (["--data.system_prompt", "You are a nurse."], "system prompt"),
        (["--data.val_fraction", "0.2"], "data"),
        (["--data.batch_tokens", "512"], "tokens of an optimizer step '512' there and '1024' here"),
        (["--trainer.accumulate_grad_batches", "1"], "tokens of an optimizer step"),
    ],
)
def test_a_mixture_of_two_runs_is_refused(
    config: Path, stopped: Path, tmp_path: Path, options: list[str], named: str
) -> None:
    place = tmp_path / "copy"
    shutil.copytree(stopped, place, symlinks=True)
    before = load_last(get_run(place))
    status, output = fit(config, place, "--resume", "auto", *options)
    assert status == 2, output
    assert named in output
    assert "--resume_anyway" in output
    assert tiny.is_equal(load_last(get_run(place))["state_dict"], before["state_dict"])
    if "--seed_everything" in options:
        status, output = fit(config, place, "--resume", "auto", "--resume_anyway", "true", *options)
        assert status == 0, output


def test_a_test_on_other_data_leaves_out_the_training_rows(config: Path, stopped: Path, tmp_path: Path) -> None:
    folder = config.parent
    rows = (folder / "consultations.csv").read_text().splitlines()
    fresh = tiny.table(tmp_path / "fresh.csv", rows=40, seed=5).read_text().splitlines()[1:]
    mixed = tmp_path / "mixed.csv"
    mixed.write_text("\n".join([*rows, *(f"Another {line}" for line in fresh)]) + "\n")
    last = get_run(stopped) / "checkpoints" / "last.ckpt"
    argv = ("test", "--ckpt_path", last, "--data.source", mixed, "--data.seed", 7, "--output", tmp_path / "out.json")
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    (line,) = [line for line in out.splitlines() if "were trained on" in line]
    left_out = int(line.split(": ")[1].split()[0])
    assert left_out > 0
    status, out, err = tiny.command("test", "--ckpt_path", last, "--output", tmp_path / "own.json", cwd=tmp_path)
    assert status == 0, err
    assert "trained on" not in out
    assert json.loads((tmp_path / "out.json").read_text())["test/tokens"] > 0


def test_only_one_process_trains_a_run(config: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "_LOCK_TIMEOUT", 0.0)
    with run_folder.hold_lock(get_run(stopped)):
        status, output = fit(config, stopped, "--resume", "auto")
    assert status == 2
    assert "being trained by another process" in output


@pytest.mark.parametrize("wrong", [(), ("--data.batch_tokens", "1")])
def test_a_run_that_another_process_prepares_stays(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, ...]
) -> None:
    """Until its first step a run has no settings in its folder."""
    monkeypatch.setattr(run_folder, "_LOCK_TIMEOUT", 0.0)
    run = run_folder.create_version(tmp_path / "lightning_logs" / config.stem)
    with run_folder.hold_lock(run):
        status, _ = fit(config, tmp_path, "--resume", "auto", *wrong)
        assert status == 2
        assert run.is_dir()
