"""Trackio."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from lightning_med.training.loggers.tracker import PROJECT, TrackedRun, Tracker, set_defaults
from lightning_med.training.loggers.tracker_place import describe_failure, hide_login
from lightning_med.utils.errors import RunError

_SPACE, _SERVER = "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"


class TrackioTracker(Logger, Tracker):
    """Logs a run to Trackio: to `$TRACKIO_SPACE_ID` or `$TRACKIO_SERVER_URL`, else into a folder.

    The folder is `$TRACKIO_DIR`, by default `trackio` beside all runs.
    """

    kind = "trackio"

    def __init__(self, run: TrackedRun) -> None:
        super().__init__()
        set_defaults(TRACKIO_DIR=str((run.folder.parent.parent / "trackio").resolve()))
        from trackio.utils import TRACKIO_DIR  # read once, when the library is imported

        server = hide_login(os.environ.get(_SERVER, ""))
        space = os.environ.get(_SPACE)
        self.is_remote = bool(space or server)
        self.place = f"https://huggingface.co/spaces/{space}" if space else server or str(Path(TRACKIO_DIR))
        self._run, self._key = run, self.place if self.is_remote else "folder"  # which may be moved
        self._opened: Any = None

    @property
    def name(self) -> str:
        """The project."""
        return PROJECT

    @property
    def version(self) -> str:
        """The run's name."""
        return self._run.name

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        identity = self._run.find_id(self.kind, self._key)
        opened = self._open(dict(params), "allow" if identity else "never")
        if identity and opened.id != identity:  # it goes by the name, and another run may have it by now
            self._close()
            opened = self._open(dict(params), "never")
        self._opened = opened
        self._run.keep_id(self.kind, self._key, str(opened.id))

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if self._opened is not None:
            self._opened.log(dict(metrics), step=step)

    @rank_zero_only
    def log_samples(self, samples: list[dict[str, str]], step: int) -> None:
        import trackio

        if self._opened is not None:
            self._opened.log({"samples": trackio.Table(data=samples)}, step=step)  # type: ignore[arg-type]

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._opened is not None:
            self._close()
            self._opened = None

    def _open(self, params: dict[str, Any], resume: str) -> Any:
        import trackio

        quiet = {"embed": False, "auto_log_cpu": False, "auto_log_gpu": False}
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                return trackio.init(PROJECT, name=self._run.name, config=params, resume=resume, **quiet)  # type: ignore[arg-type]
        except Exception as error:  # of the library, of the Hub, of the network
            hint = "Name another folder by TRACKIO_DIR, or leave --logger trackio out."
            if self.is_remote:
                hint = f"Unset {_SPACE} and {_SERVER} to log into a folder."
            raise RunError(f"--logger trackio: {self.place}: {describe_failure(error, 200)}.", hint) from error

    def _close(self) -> None:
        import trackio

        with contextlib.redirect_stdout(io.StringIO()):
            trackio.finish()
