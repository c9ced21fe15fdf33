"""Weights & Biases."""

from __future__ import annotations

import netrc
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment

from lightning_med.training.loggers.tracker import PROJECT, TrackedRun, Tracker, set_defaults
from lightning_med.training.loggers.tracker_place import describe_failure, hide_login
from lightning_med.utils.errors import InputError, RunError

_KEYS = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
_HERE = ("offline", "dryrun")  # modes that send nothing


class WandbTracker(WandbLogger, Tracker):
    """Logs a run to Weights & Biases.

    `$WANDB_MODE`, `$WANDB_PROJECT`, `$WANDB_ENTITY`, `$WANDB_BASE_URL` and the library's other variables hold. What is
    printed is not captured, for it has patients' words in it, nor are code and the changes of a Git checkout, which may
    hold a table of consultations. Files are kept in the run's folder.
    """

    kind = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        set_defaults(WANDB_DATA_DIR=str(run.folder / "wandb"))  # tables wait there to be sent
        settings = _read_settings()
        self.is_remote = settings.mode not in _HERE
        self._run, self._server = run, hide_login(str(settings.base_url))
        self.place = self._server if self.is_remote else str(run.folder / "wandb")
        self._opened: Any = None
        identity = run.find_id(self.kind, self._server) or secrets.token_hex(4)  # the same offline, to be sent later
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        super().__init__(name=run.name, save_dir=run.folder, version=identity, project=project)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The library's run, opened when it is first needed."""
        if self._opened is None:
            import wandb

            options: dict[str, Any] = {
                "project": self.name,
                "name": self._run.name,
                "id": self.version,
                "dir": self.save_dir,
            }
            try:
                self._opened = wandb.init(**options, resume="allow")
            except wandb.errors.Error as error:
                raise RunError(
                    f"--logger wandb: {self.place} does not answer: {describe_failure(error, 200)}.",
                    "WANDB_MODE=offline keeps the run here; wandb sync sends it later",
                ) from error
            self._opened.define_metric("trainer/global_step")
            self._opened.define_metric("*", step_metric="trainer/global_step", step_sync=True)
            self._run.keep_id(self.kind, self._server, str(self.version))
        return self._opened

    def log_samples(self, samples: list[dict[str, str]], step: int) -> None:
        columns = list(samples[0])
        self.log_table("samples", columns=columns, data=[[one[name] for name in columns] for one in samples], step=step)

    def finalize(self, status: str) -> None:
        super().finalize(status)
        if self._opened is not None:
            self._opened.finish(exit_code=int(status != "success"))


def check_wandb() -> None:
    """Checks that something is logged, and that nothing would ask for a login in the middle of a fit.

    Raises:
        InputError: The mode logs nothing; or there is no login, and the mode needs one.
    """
    settings = _read_settings()
    if settings.mode == "disabled":
        raise InputError(
            "--logger wandb: with WANDB_MODE=disabled nothing is logged.",
            "Leave --logger wandb out; or keep the run on this machine: WANDB_MODE=offline",
        )
    if settings.mode not in _HERE and not _has_login(str(settings.base_url)):
        raise InputError(
            f"--logger wandb: there is no login for {hide_login(str(settings.base_url))}.",
            "wandb login; or keep the run on this machine: WANDB_MODE=offline",
        )


def _read_settings() -> Any:
    """Returns the library's settings: its defaults, its files, its variables."""
    set_defaults(
        WANDB_CONSOLE="off",
        WANDB_SILENT="true",
        WANDB_SAVE_CODE="false",  # where it is unset, the user's account decides
        WANDB_DISABLE_GIT="true",
    )
    import wandb

    return wandb.setup().settings


def _has_login(url: str) -> bool:
    """Returns whether a key is in the environment, or for this server in the user's netrc file."""
    if any(map(os.environ.get, _KEYS)):
        return True
    named = os.environ.get("NETRC")
    for path in [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if netrc.netrc(path).authenticators(urlparse(url).hostname or ""):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
