"""MLflow: its experiment, and a store of files that fails. Slow, for each test makes a database."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lightning_med.training.loggers.tracker import TrackedRun
from lightning_med.utils.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")]


def make_mlflow(folder: Path, version: int = 0) -> Any:
    """Returns the tracker of a run beside others under a folder."""
    from lightning_med.training.loggers.mlflow_tracker import MlflowTracker

    run = folder / "tiny" / f"version_{version}"
    run.mkdir(parents=True, exist_ok=True)
    return MlflowTracker(TrackedRun(run))


def test_a_store_of_files_that_fails_with_an_error_of_its_own_ends_no_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.tracking import MlflowClient

    class StoreError(Exception):
        """As botocore's, neither MLflow's nor the system's."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise StoreError("Unable to locate credentials")

    monkeypatch.setattr(MlflowClient, "log_table", fail)
    tracker = make_mlflow(tmp_path)
    tracker.log_hyperparams({"model.lr": 3e-3})
    for step in (1, 2):
        tracker.log_samples([{"question": "a", "raw answer": "b"}], step)
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("fails (Unable to locate credentials). The fit goes on without it") == 1


def test_of_two_fits_that_make_an_experiment_together_both_log_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    find = MlflowClient.get_experiment_by_name

    def find_late(client: Any, name: str) -> Any:
        """Sees what was there before the other fit made it."""
        found = find(client, name)
        monkeypatch.setattr(MlflowClient, "get_experiment_by_name", find)
        if found is None:
            client.create_experiment(name, (tmp_path / "others").as_uri())
        return None

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", find_late)
    tracker = make_mlflow(tmp_path)
    assert f"files to {tmp_path / 'others'}" in tracker.place
    tracker.log_hyperparams({"model.lr": 3e-3})
    experiment = tracker.experiment.get_experiment_by_name("lightning_med")
    assert [run.info.run_name for run in tracker.experiment.search_runs([experiment.experiment_id])] == [
        tracker._run.name
    ]


def test_a_deleted_experiment_of_mlflow_is_refused_until_it_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_mlflow(tmp_path).experiment
    identity = client.get_experiment_by_name("lightning_med").experiment_id
    client.delete_experiment(identity)
    with pytest.raises(InputError, match="the experiment lightning_med has been deleted") as refused:
        make_mlflow(tmp_path, 1)
    assert refused.value.hint == (
        f"MLFLOW_TRACKING_URI=sqlite:///{tmp_path}/mlflow.db mlflow experiments restore --experiment-id {identity};"
        " or name another one: MLFLOW_EXPERIMENT_NAME=NAME"
    )
    with monkeypatch.context() as other:
        other.setenv("MLFLOW_EXPERIMENT_NAME", "other")
        make_mlflow(tmp_path, 1)
    client.restore_experiment(identity)
    make_mlflow(tmp_path, 1)
