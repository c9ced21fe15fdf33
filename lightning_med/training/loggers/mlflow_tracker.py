"""MLflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment

from lightning_med.training.loggers.tracker import PROJECT, TrackedRun, Tracker, set_defaults
from lightning_med.training.loggers.tracker_place import describe_failure, find_scheme, hide_login, is_here
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError

_PLACE = "MLFLOW_TRACKING_URI"
_DATABASE, _FILES = "mlflow.db", "mlflow_artifacts"  # beside the folders of all runs


class MlflowTracker(MLFlowLogger, Tracker):
    """Logs a run to MLflow: to `$MLFLOW_TRACKING_URI`, else to the database `mlflow.db` beside all runs.

    A server that fails during the fit does not end it: a line says so, and the files in the run's folder have all.

    Raises:
        InputError: The server or the database cannot be used, has lost the run that is resumed, or has the experiment
            among the deleted ones.
    """

    kind = "mlflow"

    def __init__(self, run: TrackedRun) -> None:
        _prepare_library()
        from mlflow.tracking import MlflowClient

        home = run.folder.parent.parent.resolve()
        given = os.environ.get(_PLACE)
        uri = given or f"sqlite:///{(home / _DATABASE).as_posix()}"
        self.place = self._address = hide_login(uri)
        self._run, self._key, self._has_failed = run, hide_login(given or _DATABASE), False
        project = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        identity = run.find_id(self.kind, self._key)
        experiment: Any = None
        try:
            client = MlflowClient(uri)
            if identity:
                files = client.get_run(identity).info.artifact_uri
            else:  # a database alone would have them in the folder where the command is called
                files = (home / _FILES).as_uri() if _is_database(uri) else None
                experiment = _provide_experiment(client, project, files)
                files = experiment.artifact_location if experiment else files
        except Exception as error:  # of the library, of a database's driver, of the network
            hint = f"For a database beside the runs: unset {_PLACE}" if given else f"Name another place by {_PLACE}"
            if identity:
                hint = f"{hint}; or begin another MLflow run: delete {run.folder / 'trackers.json'}"
            what = f"--logger mlflow cannot use {self.place}: {describe_failure(error, 160)}."
            raise InputError(what, hint) from error
        if experiment and experiment.lifecycle_stage == "deleted":
            restore = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
            raise InputError(
                f"--logger mlflow: in {self.place} the experiment {project} has been deleted.",
                f"{'' if given else f'{_PLACE}={uri} '}{restore}; or name another one: MLFLOW_EXPERIMENT_NAME=NAME",
            )
        self.is_remote = not (is_here(uri) and is_here(files or ""))
        if _is_database(uri):
            self.place += f", files to {hide_login(files or '').removeprefix('file://')}"
        super().__init__(project, run.name, uri, run_id=identity)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The client of the library; the run is opened when it is first needed."""
        before = os.environ.get(_PLACE)
        try:
            return super().experiment
        finally:  # the library sets it for the whole process, and a later fit would take it for the user's
            os.environ.pop(_PLACE, None)
            if before is not None:
                os.environ[_PLACE] = before

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._protect(lambda: self._open(dict(params)))

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self._protect(lambda: super(MlflowTracker, self).log_metrics(metrics, step))

    def log_samples(self, samples: list[dict[str, str]], step: int) -> None:
        rows = {name: [one[name] for one in samples] for name in samples[0]}
        table = {"step": [step] * len(samples), **rows}
        self._protect(lambda: self.experiment.log_table(self.run_id, table, "samples.json"))

    def finalize(self, status: str = "success") -> None:
        self._protect(lambda: super(MlflowTracker, self).finalize(status))

    def _open(self, params: dict[str, Any]) -> None:
        """Begins or continues the run. A setting that has changed since becomes a tag: MLflow keeps the first value."""
        client: Any = self.experiment
        known = client.get_run(self.run_id).data.params
        client.update_run(self.run_id, status="RUNNING")
        self._run.keep_id(self.kind, self._key, str(self.run_id))
        super().log_hyperparams({name: value for name, value in params.items() if name not in known})
        for name, value in params.items():
            if name in known and known[name] != str(value)[:250]:  # as Lightning cuts it
                client.set_tag(self.run_id, f"resumed.{name}", str(value)[:250])

    def _protect(self, action: Callable[[], None]) -> None:
        """Calls an action unless an earlier one has failed: each failure waits for several attempts."""
        if self._has_failed:
            return
        try:
            action()
        except Exception as error:  # of the library, of the network, of the client of a store of files (S3 and others)
            self._has_failed = True
            what = f"--logger mlflow: {self._address} fails ({describe_failure(error, 200)})."
            say(f"{what} The fit goes on without it; metrics.csv has everything.")


def _provide_experiment(client: Any, name: str, files: str | None) -> Any:
    """Returns the experiment of a name, even a deleted one; `None` where it was made now, with a place for files."""
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return found
    try:
        client.create_experiment(name, files)
    except MlflowException:
        if found := client.get_experiment_by_name(name):  # a fit that began together with this one has made it
            return found
        raise
    return None


def _is_database(uri: str) -> bool:
    return find_scheme(uri) not in ("", "file", "http", "https", "databricks")


def _prepare_library() -> None:
    """Switches off what the library prints."""
    set_defaults(
        MLFLOW_LOGGING_LEVEL="WARNING",
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="3",  # seven take minutes
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)  # makes the database
