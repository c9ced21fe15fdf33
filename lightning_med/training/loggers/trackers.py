"""The trackers that `--logger` names: what they need, and what they are given."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from lightning_med.training.loggers.tracker import TrackedRun, Tracker
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError

Name = Literal["wandb", "mlflow", "trackio"]
_LIGHTNING = {"wandb": "WandbLogger", "mlflow": "MLFlowLogger"}  # the same for --trainer.logger


def check_trackers(names: Iterable[str], others: Iterable[str]) -> None:
    """Checks, before any work, that the trackers can be used.

    Args:
        names: Those of `--logger`.
        others: The names of the classes in `--trainer.logger`.

    Raises:
        InputError: One is named twice, its package is not installed, or it needs a login.
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
        if name == "wandb":
            from lightning_med.training.loggers.wandb_tracker import check_wandb

            check_wandb()


def make_trackers(names: Iterable[str], run: Path, has_samples: bool) -> list[Any]:
    """Returns the trackers of a run, and says where what they are given goes.

    Args:
        names: Those of `--logger`.
        run: The run's folder. What it was before an interruption is continued.
        has_samples: Whether they are given sample answers.
    """
    tracked = TrackedRun(run)
    trackers = [_make_tracker(name, tracked) for name in names]
    for tracker in trackers:
        what = "settings, metrics and sample answers" if has_samples else "settings and metrics, no sample answers,"
        if not tracker.is_remote:
            say(f"{tracker.kind}: {what} are written to {tracker.place}.")
            continue
        words = "Sample answers hold patients' words: --samples.tracked false keeps them here." if has_samples else ""
        say(f"{tracker.kind}: {what} are sent to {tracker.place}. {words}".rstrip())
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
