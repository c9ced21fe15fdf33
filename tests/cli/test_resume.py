"""A run that goes on is the run that never stopped: its weights, its curves, its files."""

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

# Eight steps in two epochs; dropout on, a validation within each epoch, two batches a step.
FIT = {"accumulate_grad_batches": 2, "val_check_interval": 0.5}
DROPOUT = {**tiny.NETWORK, "resid_pdrop": 0.2, "embd_pdrop": 0.2}
_MEASURED = ("train/tokens_per_second", "train/utilisation", "train/data_wait", "train/peak_memory_gib")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    content = tiny.settings(folder, **FIT)
    content["data"]["batch_tokens"] = 256
    content["model"]["from_scratch"] = DROPOUT
    content["samples"] = {"questions": 0}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def fit(config: Path, place: Path, *options: object) -> tuple[int, str]:
    status, out, err = tiny.command("fit", "--config", config, *options, cwd=place)
    return status, out + err


def stopped(step: int) -> list[str]:
    return [f"--trainer.callbacks{k}={v}" for k, v in {"+": "tests.tiny.Send", ".step": step}.items()]


def run_of(place: Path, version: int = 0) -> Path:
    return place / "lightning_logs" / "small" / f"version_{version}"


def state(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)  # type: ignore[no-any-return]


def curves(run: Path) -> list[dict[str, str]]:
    """What was logged, without what is measured on the clock."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [{key: value for key, value in row.items() if key not in _MEASURED} for row in csv.DictReader(file)]
    return [row for row in rows if any(value for key, value in row.items() if key not in ("step", "epoch"))]


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs)


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whole")
    status, said = fit(config, place)
    assert status == 0, said
    return run_of(place)


@pytest.fixture(scope="module")
def total(whole: Path) -> int:
    return int(state(whole)["global_step"])


@pytest.mark.parametrize("where", ["first", "validated", "third", "epoch's end", "second epoch", "last but one"])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    config: Path, whole: Path, total: int, tmp_path: Path, where: str
) -> None:
    steps = {"first": 1, "validated": total // 4, "third": 3, "epoch's end": total // 2}
    step = {**steps, "second epoch": total // 2 + 1, "last but one": total - 1}[where]
    assert fit(config, tmp_path, *stopped(step))[0] == 143
    assert state(run_of(tmp_path))["global_step"] == step
    status, said = fit(config, tmp_path, "--resume", "auto")
    assert status == 0, said
    ours, theirs = state(run_of(tmp_path)), state(whole)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step", "epoch"):
        assert same(ours[part], theirs[part]), part
    assert curves(run_of(tmp_path)) == curves(whole)
    assert [path.name for path in run_of(tmp_path).parent.iterdir()] == ["version_0"]
    names = [{path.name for path in (run / "checkpoints").iterdir()} for run in (run_of(tmp_path), whole)]
    assert names[0] == names[1]


def test_early_stopping_remembers(config: Path, tmp_path: Path) -> None:
    """It stops where a run that was not interrupted stops, and that run is finished."""
    content = yaml.safe_load(config.read_text())
    name, given = "lightning.pytorch.callbacks.EarlyStopping", {"monitor": "val/perplexity", "min_delta": 1e6}
    content["trainer"]["callbacks"] = [{"class_path": name, "init_args": {**given, "patience": 2}}]
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    for place in ("alone", "stopped"):
        (tmp_path / place).mkdir()
    assert fit(path, tmp_path / "alone")[0] == 0
    ended = state(run_of(tmp_path / "alone"))
    last = int(ended["global_step"])
    for step in (last // 3, 2 * last // 3 + 1):  # one between each two validations, and after the second
        options = ("--resume", "auto") if step > last // 3 else ()
        assert fit(path, tmp_path / "stopped", *options, *stopped(step))[0] == 143
    status, said = fit(path, tmp_path / "stopped", "--resume", "auto")
    assert status == 0, said
    ours = state(run_of(tmp_path / "stopped"))
    assert ours["global_step"] == last < 3 * last
    assert same(ours["state_dict"], ended["state_dict"])
    assert "is finished" in fit(path, tmp_path / "stopped", "--resume", "auto")[1]


def test_a_finished_run_says_so_and_trains_on_where_it_is_given_more(config: Path, total: int, tmp_path: Path) -> None:
    assert fit(config, tmp_path)[0] == 0
    before = (run_of(tmp_path) / "metrics.csv").read_bytes()
    status, said = fit(config, tmp_path, "--resume", "auto")
    assert status == 0
    assert f"is finished, at step {total}" in said
    assert (run_of(tmp_path) / "metrics.csv").read_bytes() == before
    assert fit(config, tmp_path, "--resume", "auto", "--trainer.max_epochs", 3)[0] == 0
    assert state(run_of(tmp_path))["epoch"] == 2
    assert len(run_folder.list_versions(run_of(tmp_path).parent)) == 1


def test_without_a_run_it_starts_and_without_a_checkpoint_it_starts_anew(
    config: Path, whole: Path, tmp_path: Path
) -> None:
    status, said = fit(config, tmp_path, "--resume", "auto", "--trainer.max_steps", 2)
    assert status == 0, said
    for path in (run_of(tmp_path) / "checkpoints").iterdir():
        path.unlink()  # as a kill before the first save leaves it
    status, said = fit(config, tmp_path, "--resume", "auto")
    assert status == 0, said
    assert "no checkpoint yet" in said
    assert curves(run_of(tmp_path)) == curves(whole)


def test_checkpoint_every_is_short_for_the_callbacks_own(config: Path, tmp_path: Path) -> None:
    assert fit(config, tmp_path, "--checkpoint_every", 1, "--trainer.max_steps", 3)[0] == 0
    assert {path.name for path in (run_of(tmp_path) / "checkpoints").glob("step-*.ckpt")} >= {
        "step-2.ckpt",
        "step-3.ckpt",
    }
    saved = yaml.safe_load((run_of(tmp_path) / "config.yaml").read_text())
    assert saved["checkpoint"]["every_n_train_steps"] == 1
    assert not {"resume", "resume_anyway", "ckpt_path", "checkpoint_every"} & set(saved)


# ------------------------------------------------------------------ damage


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    at = len(content) // 3
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": halved,
    "16 bytes short": lambda content: content[:-16],
    "garbage": lambda content: b"\x00garbage" * 1000,
    "one bit": flipped,
}


@pytest.fixture(scope="module")
def stood(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("stood")
    assert fit(config, place, "--checkpoint_every", 1, *stopped(3))[0] == 143
    return place


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_it_is_taken(
    config: Path, whole: Path, stood: Path, tmp_path: Path, damage: str
) -> None:
    place = tmp_path / "copy"
    shutil.copytree(stood, place, symlinks=True)
    last = run_of(place) / "checkpoints" / "step-3.ckpt"
    last.write_bytes(DAMAGES[damage](last.read_bytes()))
    for verb in ("fit", "test", "predict"):
        status, _, err = tiny.command(verb, "--config", config, "--ckpt_path", last, cwd=tmp_path)
        assert status == 2
        assert "step-3.ckpt is damaged" in err
    output = tmp_path / "export"
    status, _, err = tiny.command("export", "--checkpoint", last.with_name("last.ckpt"), "--output", output)
    assert status == 2
    assert "step-3.ckpt is damaged" in err
    assert not output.exists()
    status, said = fit(config, place, "--resume", "auto")
    assert status == 0, said
    assert "step-3.ckpt is damaged" in said
    assert "step-2.ckpt" in said
    assert same(state(run_of(place))["state_dict"], state(whole)["state_dict"])
    assert curves(run_of(place)) == curves(whole)


def test_a_checkpoint_without_a_digest_is_called_unverified(stood: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.ckpt"
    path.write_bytes((run_of(stood) / "checkpoints" / "step-3.ckpt").read_bytes())
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
    config: Path, stood: Path, tmp_path: Path, options: list[str], named: str
) -> None:
    place = tmp_path / "copy"
    shutil.copytree(stood, place, symlinks=True)
    before = state(run_of(place))
    status, said = fit(config, place, "--resume", "auto", *options)
    assert status == 2, said
    assert named in said
    assert "--resume_anyway" in said
    assert same(state(run_of(place))["state_dict"], before["state_dict"])
    if "--seed_everything" in options:
        status, said = fit(config, place, "--resume", "auto", "--resume_anyway", "true", *options)
        assert status == 0, said


def test_rows_that_were_trained_on_are_left_out_of_a_test_on_other_data(
    config: Path, stood: Path, tmp_path: Path
) -> None:
    folder = config.parent
    rows = (folder / "consultations.csv").read_text().splitlines()
    fresh = tiny.table(tmp_path / "fresh.csv", rows=40, seed=5).read_text().splitlines()[1:]
    mixed = tmp_path / "mixed.csv"
    mixed.write_text("\n".join([*rows, *(f"Another {line}" for line in fresh)]) + "\n")
    last = run_of(stood) / "checkpoints" / "last.ckpt"
    argv = ("test", "--ckpt_path", last, "--data.source", mixed, "--data.seed", 7, "--output", tmp_path / "out.json")
    status, out, err = tiny.command(*argv, cwd=tmp_path)
    assert status == 0, err
    (line,) = [line for line in out.splitlines() if "were trained on" in line]
    left = int(line.split(": ")[1].split()[0])
    assert left > 0
    status, out, err = tiny.command("test", "--ckpt_path", last, "--output", tmp_path / "own.json", cwd=tmp_path)
    assert status == 0, err
    assert "trained on" not in out
    assert json.loads((tmp_path / "out.json").read_text())["test/tokens"] > 0


def test_a_run_is_trained_by_one_process_at_a_time(config: Path, stood: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "_LOCK_TIMEOUT", 0.0)
    with run_folder.hold_lock(run_of(stood)):
        status, said = fit(config, stood, "--resume", "auto")
    assert status == 2
    assert "being trained by another process" in said
