"""Commands under launchers: two processes of torchrun, and variables left over where the command is one process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.utilities import rank_zero_only

from tests import tiny
from tests.cli.helpers import list_files, read_json, run_refused, write_small_config

LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "lightning_med"]
SLURM = {"JOB_NAME": "train", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}  # of an sbatch script, without srun


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_a_left_over_rank_keeps_no_run_from_writing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # as Lightning reads it when it is imported
    status, out, err = tiny.command("fit", "--config", write_small_config(folder, tmp_path), cwd=tmp_path)
    assert status == 0, err
    assert f"{name}=1 in the environment: not used" in out
    run = tmp_path / "lightning_logs" / "small" / "version_0"
    assert {"config.yaml", "metrics.csv", "checkpoints/last.ckpt"} <= list_files(run)
    assert list(run.glob("events*"))
    assert "next: lightning-med export" in out


def test_a_left_over_rank_keeps_no_results_from_being_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    last = run / "checkpoints" / "last.ckpt"
    for verb, file in (("test", "test.json"), ("predict", "predictions.jsonl")):
        status, _, err = tiny.command(verb, "--ckpt_path", last, cwd=tmp_path)
        assert status == 0, err
        assert (run / file).is_file()
    status, out, err = tiny.command("export", "--checkpoint", last, "--output", "export", cwd=tmp_path)
    assert status == 0, err
    assert "next:" in out


@pytest.mark.parametrize("verb", ["fit", "prepare"])
def test_a_job_of_several_tasks_without_srun(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    for name, value in {**SLURM, "NTASKS": "4"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert "srun" in run_refused(verb, "--config", write_small_config(folder, tmp_path), cwd=tmp_path)


@pytest.mark.parametrize("changes", [{"NTASKS": "1"}, {"NTASKS": "4", "JOB_NAME": "interactive"}])
def test_a_job_of_one_task_trains(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]
) -> None:
    for name, value in {**SLURM, **changes}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    status, _, err = tiny.command("fit", "--config", write_small_config(folder, tmp_path), cwd=tmp_path)
    assert status == 0, err
    assert list(tmp_path.rglob("last.ckpt"))


def test_a_world_that_the_settings_do_not_have(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "2 processes" in run_refused("fit", "--config", write_small_config(folder, tmp_path), cwd=tmp_path)


def test_a_rank_that_is_no_number(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "one")
    assert "LOCAL_RANK='one'" in run_refused("fit", "--config", write_small_config(folder, tmp_path), cwd=tmp_path)


def run_two_processes(*argv: str, cwd: Path) -> None:
    """Runs a command in two processes; kills both if they wait for each other."""
    options: dict[str, Any] = {"cwd": cwd, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, "start_new_session": True}
    with (cwd / "log").open("w") as log:
        launcher = subprocess.Popen([sys.executable, *LAUNCHER, *argv], stdout=log, stderr=log, **options)
    try:
        assert launcher.wait(300) == 0, (cwd / "log").read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(launcher.pid, signal.SIGKILL)


@pytest.mark.slow
def test_two_processes_of_torchrun_make_one_run(folder: Path, tmp_path: Path) -> None:
    config = write_small_config(folder, tmp_path, devices=2, strategy="ddp")
    for steps, options in ((2, ()), (4, ("--resume", "auto", "--trainer.max_steps", "4"))):
        run_two_processes("fit", "--config", str(config), *options, cwd=tmp_path)
        (run,) = (tmp_path / "lightning_logs" / "small").iterdir()
        assert read_json(run / "run.json")["end"] == "steps"
        assert {path.parent for path in tmp_path.rglob("*.ckpt")} == {run / "checkpoints"}
        assert (run / "checkpoints" / "last.ckpt").readlink() == Path(f"step-{steps}.ckpt")
