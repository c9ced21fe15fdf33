"""Where trackers log: what leaves the machine, and that no password is shown or kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from lightning_med.training.loggers.tracker_place import describe_failure, hide_login, is_here
from lightning_med.training.loggers.trackers import make_trackers
from lightning_med.utils.errors import InputError

DATABASE = "postgresql://ana:s3cret@db.hospital.example/mlflow"


@pytest.mark.parametrize(
    ("place", "here"),
    [
        ("sqlite:///runs.db", True),
        ("sqlite+pysqlite:////data/runs.db", True),
        ("file:///data/mlruns", True),
        ("mlruns", True),
        ("/data/mlruns", True),
        ("C:\\mlruns", True),
        ("https://mlflow.example", False),
        (DATABASE, False),
        ("mysql+pymysql://db/mlflow", False),
        ("databricks", False),
        ("databricks://profile", False),
        ("s3://bucket/runs", False),
    ],
)
def test_only_files_and_sqlite_are_on_this_machine(place: str, here: bool) -> None:
    assert is_here(place) == here


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (DATABASE, "postgresql://db.hospital.example/mlflow"),
        ("https://user:pw@host:5000/a", "https://host:5000/a"),
        ("https://token@host", "https://host"),
        ("mysql://ana:p/w@x@host/db", "mysql://host/db"),
        ("postgresql://host/db?user=ana&password=s3cret", "postgresql://host/db"),
        ("cannot parse 'postgresql://ana:s3cret@host/db'.", "cannot parse 'postgresql://host/db'."),
        ("refused: /api?write_token=s3cret (403)", "refused: /api?write_token=*** (403)"),
        ("sqlite:////home/a@b/runs.db", "sqlite:////home/a@b/runs.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_a_login_is_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert hide_login(text) == shown


def test_an_error_is_cut_after_its_logins_are_hidden() -> None:
    assert describe_failure(ValueError(f"no answer of {DATABASE}"), 24) == "no answer of postgresql:"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """MLflow's client without an experiment."""
    pytest.importorskip("mlflow")
    import mlflow.tracking

    client = MagicMock()
    client.get_experiment_by_name.return_value = None
    client.create_run.return_value.info.run_id = "1"
    monkeypatch.setattr(mlflow.tracking, "MlflowClient", client.make)
    client.make.return_value = client
    return client


def start(tmp_path: Path, capsys: Any, tracked: bool | None = None) -> tuple[Any, str]:
    """Returns MLflow's tracker of a run, and what is said of it."""
    run = tmp_path / "lightning_logs" / "tiny" / "version_0"
    run.mkdir(parents=True)
    (tracker,) = make_trackers(["mlflow"], run, tracked)
    return tracker, " ".join(capsys.readouterr().out.split())


def test_a_database_elsewhere_is_remote_and_its_password_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: MagicMock, capsys: Any
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DATABASE)
    tracker, said = start(tmp_path, capsys)
    files = tmp_path / "lightning_logs" / "mlflow_artifacts"
    shown = f"postgresql://db.hospital.example/mlflow, files to {files}"
    assert f"mlflow: settings and metrics, no sample answers, are sent to {shown}." in said
    assert "Sample answers hold patients' words: --samples.tracked true sends them as well." in said
    client.make.assert_called_with(DATABASE)  # the library itself needs the password
    client.create_experiment.assert_called_once_with("lightning_med", files.as_uri())
    tracker.log_hyperparams({})
    kept = (tmp_path / "lightning_logs" / "tiny" / "version_0" / "trackers.json").read_text()
    assert '"place": "postgresql://db.hospital.example/mlflow"' in kept
    client.log_batch.side_effect = OSError(f"{DATABASE} has gone")
    tracker.log_metrics({"loss": 1.0}, 0)
    said += " ".join(capsys.readouterr().out.split())
    assert "has gone" in said
    assert "s3cret" not in said + kept


def test_the_password_is_not_in_the_error_of_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: MagicMock, capsys: Any
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DATABASE)
    client.make.side_effect = ModuleNotFoundError(f"no driver for {DATABASE}")
    with pytest.raises(InputError, match=r"cannot use postgresql://db.*no driver for postgresql://db") as found:
        start(tmp_path, capsys)
    assert "s3cret" not in str(found.value)


@pytest.mark.parametrize(
    ("uri", "has_files"), [("sqlite:///own.db", True), ("file:///data/mlruns", False), ("https://ml.example", False)]
)
def test_a_database_of_the_user_has_its_files_beside_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: MagicMock, capsys: Any, uri: str, has_files: bool
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    _, said = start(tmp_path, capsys)
    files = tmp_path / "lightning_logs" / "mlflow_artifacts"
    client.create_experiment.assert_called_once_with("lightning_med", files.as_uri() if has_files else None)
    assert (f"files to {files}." in said) == has_files


def test_an_experiment_whose_files_go_elsewhere_is_remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: MagicMock, capsys: Any
) -> None:
    client.get_experiment_by_name.return_value = MagicMock(artifact_location="s3://bucket/runs")
    _, said = start(tmp_path, capsys)
    assert "no sample answers, are sent to sqlite:///" in said
    assert "files to s3://bucket/runs." in said
