"""Trackers of experiments, each with the real package and without a network."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_med.training.loggers.tracker import TrackedRun, set_defaults
from lightning_med.utils.errors import RunError
from tests import tiny
from tests.training.loggers.wandb_file import read_run

COLUMNS = ["question", "reference", "raw answer", "guarded answer"]


def fit(folder: Path, config: Path, *options: object, status: int = 0) -> str:
    """Runs `fit` and returns its output."""
    found, out, err = tiny.command("fit", "--config", config, *options, cwd=folder)
    assert found == status, err
    return " ".join((out + err).split())


def fit_twice(folder: Path, trackers: str) -> tuple[Path, str]:
    """Returns the folder of a run of eight steps that was resumed after the fourth, and what the fits printed."""
    config = tiny.config(folder, max_epochs=1, val_check_interval=0.5)
    stop = ("--trainer.callbacks+", "tests.tiny.Send", "--trainer.callbacks.step", 4)
    first = fit(folder, config, "--logger", trackers, *stop, status=143)
    second = fit(folder, config, "--logger", trackers, "--resume", "auto", "--model.max_new_tokens", 9)
    return folder / "lightning_logs" / "tiny" / "version_0", first + second


def read_validations(run: Path) -> list[tuple[int, float]]:
    """Returns step and perplexity of each validation in `metrics.csv`."""
    with (run / "metrics.csv").open(newline="") as file:
        return [
            (int(row["step"]), float(row["val/perplexity"])) for row in csv.DictReader(file) if row["val/perplexity"]
        ]


def list_questions(folder: Path) -> set[str]:
    with (folder / "consultations.csv").open(newline="", encoding="utf-8") as file:
        return {row["input"] for row in csv.DictReader(file)}


def check_trackio(run: Path, folder: Path) -> None:
    """Checks a run of `fit_twice` in Trackio's database."""
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    (found,) = trackio.Api().runs("lightning_med")
    assert found.name == "tiny/version_0"
    assert found.id == json.loads((run / "trackers.json").read_text())["trackio"]["id"]
    assert found.config is not None
    assert found.config["model.lr"] == 3e-3
    assert found.config["model.max_new_tokens"] == 9  # as the resumed run has it
    logs = SQLiteStorage.get_logs("lightning_med", found.name, run_id=found.id)
    logged = [(row["step"], row["val/perplexity"]) for row in logs if "val/perplexity" in row]
    assert logged == read_validations(run)
    samples = [(row["step"], row["samples"]["_value"]) for row in logs if "samples" in row]
    assert [step for step, _ in samples] == [step for step, _ in logged] == [3, 7]
    for _, rows in samples:
        assert list(rows[0]) == COLUMNS
        assert {row["question"] for row in rows} <= list_questions(folder)


def test_a_resumed_run_is_one_run_in_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    keep_trackio_in(tmp_path, monkeypatch)
    run, said = fit_twice(tmp_path, "trackio")
    check_trackio(run, tmp_path)
    assert f"trackio: settings, metrics and sample answers are written to {tmp_path}" in said
    assert said.count("* Trackio") == said.count("* Run finished") == 0


def keep_trackio_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Trackio, which reads its folder once a process, keep runs in this one."""
    from trackio import sqlite_storage, utils

    for module in (utils, sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", folder / "trackio")


def test_another_run_of_the_same_name_is_not_appended_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trackio = pytest.importorskip("trackio")
    from lightning_med.training.loggers.trackio_tracker import TrackioTracker

    keep_trackio_in(tmp_path, monkeypatch)
    for root in ("here", "there", "here"):
        run = tmp_path / root / "tiny" / "version_0"
        run.mkdir(parents=True, exist_ok=True)
        tracker = TrackioTracker(TrackedRun(run))
        tracker.log_hyperparams({"root": root})
        tracker.log_metrics({"loss": 1.0}, 0)
        tracker.finalize("success")
    assert [(run.config or {})["root"] for run in trackio.Api().runs("lightning_med")].count("there") == 1


def check_wandb(run: Path, folder: Path) -> None:
    """Checks a run of `fit_twice` in the files that Weights & Biases is to send later."""
    parts = sorted((run / "wandb").glob("offline-run-*"))
    assert len(parts) == 2
    identities, configs, histories = zip(*map(read_run, parts), strict=True)
    assert set(identities) == {json.loads((run / "trackers.json").read_text())["wandb"]["id"]}
    for config in configs:
        assert config["model.lr"] == 3e-3
    lines = [line for history in histories for line in history]
    logged = [(line["trainer/global_step"], line["val/perplexity"]) for line in lines if "val/perplexity" in line]
    assert logged == read_validations(run)
    tables = [(line["trainer/global_step"], line) for line in lines if any(name.startswith("samples") for name in line)]
    assert [step for step, _ in tables] == [3, 7]
    files = [path for part in parts for path in part.rglob("samples*.table.json")]
    assert len(files) == 2
    for file in files:
        table = json.loads(file.read_text(encoding="utf-8"))
        assert table["columns"] == COLUMNS
        assert {row[0] for row in table["data"]} <= list_questions(folder)
    import wandb

    assert wandb.setup().settings.console == "off"  # what is printed has patients' words


def check_mlflow(run: Path, folder: Path) -> None:
    """Checks a run of `fit_twice` in MLflow's database."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'lightning_logs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("lightning_med")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_id == json.loads((run / "trackers.json").read_text())["mlflow"]["id"]
    assert (found.info.run_name, found.info.status) == ("tiny/version_0", "FINISHED")
    assert found.data.params["model.lr"] == "0.003"
    assert found.data.params["model.max_new_tokens"] == "12"  # as it began
    assert found.data.tags["resumed.model.max_new_tokens"] == "9"
    points = client.get_metric_history(found.info.run_id, "val/perplexity")
    assert [(point.step, point.value) for point in points] == read_validations(run)
    table = client.load_table(experiment.experiment_id, "samples.json", [found.info.run_id])
    assert list(table.columns) == ["step", *COLUMNS]
    assert sorted(set(table["step"])) == [3, 7]
    assert set(table["question"]) <= list_questions(folder)


@pytest.mark.slow
def test_a_resumed_run_is_one_run_in_each_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("trackio", "wandb", "mlflow"):
        pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    keep_trackio_in(tmp_path, monkeypatch)
    run, said = fit_twice(tmp_path, "[wandb, mlflow, trackio]")
    check_trackio(run, tmp_path)
    check_wandb(run, tmp_path)
    check_mlflow(run, tmp_path)
    assert "lightning_logs/tiny/version_0/wandb." in said
    logs = tmp_path / "lightning_logs"
    assert f"are written to sqlite:///{logs}/mlflow.db, files to {logs}/mlflow_artifacts." in said
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["logger"] == ["wandb", "mlflow", "trackio"]
    checkpoint = run / "checkpoints" / "last.ckpt"
    status, _, err = tiny.command("test", "--config", run / "config.yaml", "--ckpt_path", checkpoint, cwd=tmp_path)
    assert status == 0, err  # the saved setting is no obstacle to other verbs


@pytest.mark.slow
def test_a_server_of_mlflow_that_fails_ends_no_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    def fail(*args: Any, **kwargs: Any) -> None:
        raise MlflowException("the server has gone")

    monkeypatch.setattr(MlflowClient, "log_batch", fail)
    said = fit(tmp_path, tiny.config(tmp_path, max_epochs=1), "--logger", "mlflow")
    assert said.count("fails (the server has gone). The fit goes on without it; metrics.csv has everything.") == 1
    run = tmp_path / "lightning_logs" / "tiny" / "version_0"
    assert len(read_validations(run)) == 1


@pytest.mark.slow
def test_a_run_that_mlflow_has_lost_is_refused_before_the_work(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    config = tiny.config(tmp_path, max_steps=2)
    fit(tmp_path, config)
    run = tmp_path / "lightning_logs" / "tiny" / "version_0"
    (run / "trackers.json").write_text('{"mlflow": {"place": "mlflow.db", "id": "0123456789abcdef0123456789abcdef"}}')
    err = fit(tmp_path, config, "--logger", "mlflow", "--resume", "auto", "--trainer.max_steps", 4, status=2)
    assert "--logger mlflow cannot use sqlite:///" in err
    assert "delete lightning_logs/tiny/version_0/trackers.json" in err


def test_answers_can_be_kept_from_trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    keep_trackio_in(tmp_path, monkeypatch)
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump({**tiny.settings(tmp_path, max_epochs=1), "logger": "trackio"}))
    said = fit(tmp_path, config, "--samples.tracked", "false")
    assert "trackio: settings and metrics, no sample answers, are written to" in said
    assert "Sample answers at step 8" in said  # here they are shown
    logs = SQLiteStorage.get_logs("lightning_med", "tiny/version_0")
    assert any("val/perplexity" in row for row in logs)
    assert any("safety/dose" in row for row in logs)
    assert not any("samples" in row for row in logs)


def test_a_trial_run_is_not_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trackio = pytest.importorskip("trackio")
    keep_trackio_in(tmp_path, monkeypatch)
    said = fit(tmp_path, tiny.config(tmp_path), "--logger", "trackio", "--trainer.fast_dev_run", 1)
    assert "trackio" not in said
    with pytest.raises(ValueError, match="does not exist"):
        trackio.Api().runs("lightning_med")


def test_a_server_is_named_with_what_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pytest.importorskip("trackio")
    from lightning_med.training.loggers.trackers import make_trackers

    monkeypatch.setenv("TRACKIO_SERVER_URL", "https://tracks.example/?write_token=secret")
    said = {}
    for tracked in (None, True, False):
        make_trackers(["trackio"], tmp_path / "tiny" / "version_0", tracked)
        said[tracked] = " ".join(capsys.readouterr().out.split())
    without = "trackio: settings and metrics, no sample answers, are sent to https://tracks.example/."
    words = "Sample answers hold patients' words: --samples.tracked"
    assert said[None] == f"{without} {words} true sends them as well."
    assert said[False] == without
    everything = "trackio: settings, metrics and sample answers are sent to https://tracks.example/."
    assert said[True] == f"{everything} {words} false keeps them here."


@pytest.mark.parametrize(
    ("server", "hint"),
    [
        ("", "Name another folder by TRACKIO_DIR, or leave --logger trackio out."),
        ("https://tracks.example", "Unset TRACKIO_SPACE_ID and TRACKIO_SERVER_URL to log into a folder."),
    ],
)
def test_where_trackio_cannot_log_another_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, hint: str
) -> None:
    trackio = pytest.importorskip("trackio")
    from lightning_med.training.loggers.trackio_tracker import TrackioTracker

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(30, "Read-only file system")

    keep_trackio_in(tmp_path, monkeypatch)
    monkeypatch.setattr(trackio, "init", fail)
    if server:
        monkeypatch.setenv("TRACKIO_SERVER_URL", server)
    with pytest.raises(RunError, match="Read-only file system") as failed:
        TrackioTracker(TrackedRun(tmp_path / "tiny" / "version_0")).log_hyperparams({})
    assert failed.value.hint == hint


def test_variables_that_the_user_set_stay_and_those_of_the_run_before_do_not() -> None:
    set_defaults(WANDB_DATA_DIR="first", WANDB_CONSOLE="off")
    set_defaults(WANDB_DATA_DIR="second", WANDB_CONSOLE="off")
    assert os.environ["WANDB_DATA_DIR"] == "second"
    os.environ["WANDB_DATA_DIR"] = "the user's"
    set_defaults(WANDB_DATA_DIR="third")
    assert os.environ["WANDB_DATA_DIR"] == "the user's"


# ------------------------------------------------------------------ refused before the work


def refuse(tmp_path: Path, *options: object) -> str:
    """Returns the two lines with which a fit is refused; it has left nothing."""
    config = tiny.config(tmp_path)
    status, out, err = tiny.command("fit", "--config", config, *options, cwd=tmp_path)
    assert status == 2, out
    assert not (tmp_path / "lightning_logs").exists()
    return err


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from lightning_med.training.loggers import trackers

    monkeypatch.setattr(trackers, "find_spec", lambda package: None)
    err = refuse(tmp_path, "--logger", name)
    assert f"--logger {name} needs the package {name}." in err
    assert f"pip install 'lightning_med[{name}]'" in err


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--logger", "comet"), "logger"),
        (("--logger", "[trackio, trackio]"), "--logger names trackio twice"),
        (("--logger", "trackio", "--trainer.logger", "false"), "--trainer.logger false logs nothing"),
        (
            ("--logger", "mlflow", "--trainer.logger", "MLFlowLogger"),
            "--logger mlflow and --trainer.logger MLFlowLogger",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(tmp_path: Path, options: tuple[str, ...], what: str) -> None:
    pytest.importorskip("trackio")
    pytest.importorskip("mlflow")
    assert what in refuse(tmp_path, *options)


@pytest.mark.usefixtures("wandb")
def test_without_a_login_wandb_is_refused_and_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example")
    err = refuse(tmp_path, "--logger", "wandb")
    assert "--logger wandb: there is no login for https://wandb.example." in err
    assert "wandb login" in err
    assert "WANDB_MODE=offline" in err


@pytest.mark.usefixtures("wandb")
def test_wandb_is_refused_where_its_mode_logs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert "with WANDB_MODE=disabled nothing is logged" in refuse(tmp_path, "--logger", "wandb")


@pytest.mark.parametrize(("rank", "checks"), [("0", 1), ("1", 0)])
def test_only_the_rank_that_logs_needs_a_login(monkeypatch: pytest.MonkeyPatch, rank: str, checks: int) -> None:
    pytest.importorskip("wandb")
    from lightning_med.training.loggers import trackers, wandb_tracker

    asked: list[str] = []
    monkeypatch.setattr(wandb_tracker, "check_wandb", lambda: asked.append(rank))
    monkeypatch.setenv("RANK", rank)
    trackers.check_trackers(["wandb"], [])
    assert len(asked) == checks


@pytest.mark.usefixtures("wandb")
def test_a_password_in_the_address_of_wandb_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_med.training.loggers.wandb_tracker import WandbTracker

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_BASE_URL", "https://ana:s3cret@wandb.example")
    assert "there is no login for https://wandb.example." in refuse(tmp_path, "--logger", "wandb")
    tracker = WandbTracker(TrackedRun(tmp_path / "tiny" / "version_0"))
    assert (tracker.place, tracker.is_remote) == ("https://wandb.example", True)


@pytest.mark.parametrize(
    "content", ["machine wandb.example login user password key", "machine other password key", "machine"]
)
def test_a_login_is_found_where_the_library_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    from lightning_med.training.loggers.wandb_tracker import _has_login

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text(f"{content}\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert _has_login("https://wandb.example") == ("wandb.example" in content)
    monkeypatch.setenv("WANDB_API_KEY", "key")
    assert _has_login("https://wandb.example")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"mlflow": 1}', '{"mlflow": {"place": "b", "id": "x"}}'])
def test_an_id_counts_only_where_it_was_given(tmp_path: Path, content: str) -> None:
    (tmp_path / "trackers.json").write_text(content)
    run = TrackedRun(tmp_path)
    assert run.find_id("mlflow", "a") is None
    run.keep_id("mlflow", "a", "1")
    run.keep_id("wandb", "c", "2")
    assert (run.find_id("mlflow", "a"), run.find_id("wandb", "c"), run.find_id("wandb", "d")) == ("1", "2", None)
