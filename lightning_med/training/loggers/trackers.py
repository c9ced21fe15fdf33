"""The trackers that `--logger` names: what they need, and what they are given."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from lightning_med.training.loggers.tracker import TrackedRun, Tracker
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError
from lightning_med.utils.ranks import is_first_rank

Name = Literal["wandb", "mlflow", "trackio"]
_LIGHTNING = {"wandb": "WandbLogger", "mlflow": "MLFlowLogger"}  # the same for --trainer.logger


def check_trackers(names: Iterable[str], others: Iterable[str]) -> None:
    """Checks, before any work, that the trackers can be used.

    Args:
        names: Those of `--logger`.
        others: The names of the classes in `--trainer.logger`.

    Raises:
        InputError: One is named twice, its package is not installed, or it needs a login or is disabled.
    """
    names, others = list(names), list(others)
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--logger names {name} twice.", "Name it once.")
        if _LIGHTNING.get(name) in others:
            raise InputError(
                f"--logger {name} and --trainer.logger {_LIGHTNING[name]} are the same.", "Give one of them."
            )
        if find_spec(name) is None:
            raise InputError(f"--logger {name} needs the package {name}.", f"pip install 'lightning_med[{name}]'")
        if name == "wandb" and is_first_rank():  # the others do not log
            from lightning_med.training.loggers.wandb_tracker import check_wandb

            check_wandb()


def make_trackers(names: Iterable[str], run: Path, tracked: bool | None) -> list[Any]:
    """Returns the trackers of a run, and says where what they are given goes.

    Args:
        names: Those of `--logger`.
        run: The run's folder. What it was before an interruption is continued.
        tracked: Whether they are given sample answers; `None` for those on this machine alone.
    """
    tracked_run = TrackedRun(run)
    trackers = [_make_tracker(name, tracked_run) for name in names]
    for tracker in trackers:
        has_samples = tracker.takes_samples(tracked)
        what = "settings, metrics and sample answers" if has_samples else "settings and metrics, no sample answers,"
        say(f"{tracker.kind}: {what} are {'sent' if tracker.is_remote else 'written'} to {tracker.place}.")
        if tracker.is_remote and tracked is not False:
            choice = "false keeps them here" if tracked else "true sends them as well"
            say(f"Sample answers hold patients' words: --samples.tracked {choice}.")
    return trackers


def _make_tracker(name: str, run: TrackedRun) -> Tracker:
    if name == "wandb":
        from lightning_med.training.loggers.wandb_tracker import WandbTracker

        return WandbTracker(run)
    if name == "mlflow":
        from lightning_med.training.loggers.mlflow_tracker import MlflowTracker

        return MlflowTracker(run)
    from lightning_med.training.loggers.trackio_tracker import TrackioTracker

    return TrackioTracker(run)
