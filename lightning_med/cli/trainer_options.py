"""Options that `fit`, `validate`, `test`, `predict` and `prepare` have beside Lightning's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers.logger import DummyLogger

from lightning_med.cli.checkpoint_settings import EVALUATIONS
from lightning_med.cli.output import json_output
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.sample_answers import SampleAnswers
from lightning_med.training.loggers.run_files import make_run_files
from lightning_med.training.loggers.trackers import Name, make_trackers
from lightning_med.training.optimization.other_optimizers import NamedOptimizer

_NAME_HELP = (
    "Name of the run. Default: that of the first config file, without its ending; its folder's name where the file is "
    "called config.yaml; the run's own name for a run's config.yaml; without a config, run. What is no good in a name "
    "becomes '-'."
)
_LOGGER_HELP = (
    "Where a fit logs beside its own folder: wandb, mlflow, trackio, or a list of them. They get settings, metrics and "
    "sample answers (docs/experiments.md). Of fit alone."
)
_TITLES = {
    "trainer": "trainer (steps, validations, devices, callbacks)",
    "model": "model (base, optimizer, adapter, sampling of answers)",
    "data": "data (source, columns, tokenizer, splits, batches)",
    "checkpoint": "checkpoint (when one is saved, how many are kept)",
    "samples": "samples (validation questions that are answered during the fit)",
    "optimizer": "optimizer (a class of torch.optim instead of the own one)",
    "lr_scheduler": "lr_scheduler (a schedule for it)",
}
# `prepare` trains nothing: a config for other devices than this machine has prepares its data all the same.
WITHOUT_DEVICES = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": None}
# Options of one call, not of the run: saved, they would hold for every later call that takes the run's settings.
_OF_ONE_CALL = (
    "config",
    "ckpt_path",
    "weights_only",
    "resume",
    "resume_anyway",
    "checkpoint_every",
    "output",
    "overwrite",
)


class _Flag(argparse.Action):
    """An option of the help that `trainer_command` takes out of the arguments before they are parsed."""

    def __init__(self, option_strings: list[str], **kwargs: Any) -> None:
        super().__init__(
            option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, nargs=0, help=kwargs["help"]
        )

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""


def add_run_options(parser: LightningArgumentParser) -> None:
    """Adds the options that every verb has."""
    parser.add_argument("--name", type=str | None, default=None, help=_NAME_HELP)
    parser.add_argument("--logger", type=Name | list[Name] | None, default=None, help=_LOGGER_HELP)
    parser.add_lightning_class_args(Checkpoints, "checkpoint")
    parser.add_lightning_class_args(SampleAnswers, "samples")
    parser.add_optimizer_args()
    parser.add_lr_scheduler_args()
    parser.add_argument(
        "--lr_scheduler_interval",
        type=Literal["epoch", "step"],
        default="epoch",
        help="After what the schedule of --lr_scheduler moves on.",
    )


def add_verb_options(parser: LightningArgumentParser, verb: str) -> None:
    """Adds the options of one verb, and what its help begins with."""
    parser.usage = f"lightning-med {verb} [--config FILE.yaml] [--SECTION.SETTING VALUE ...]"
    for key, group in (parser.groups or {}).items():
        group.title = _TITLES.get(key, f"options of {verb}")
    parser.add_argument("--json", action=_Flag, help=json_output.HELP)
    if verb == "fit":
        parser.add_argument(
            "--resume",
            type=str | None,
            default=None,
            help="auto: continue the newest run of this name that began with this config file, if it is unfinished; "
            "else start one.",
        )
        parser.add_argument(
            "--resume_anyway", type=bool, default=False, help="Resume although the settings are not the run's."
        )
        parser.add_argument("--checkpoint_every", type=int | None, default=None, help="Save every so many steps.")
    if verb in EVALUATIONS:
        parser.add_argument("--output", type=str | None, default=None, help="File to write; default: in the run.")
    if verb == "predict":
        parser.add_argument(
            "--overwrite",
            type=bool,
            default=False,
            help="Replace a complete file, and discard the rows so far of another model, data or decoding. Without it"
            " both are refused; the rows so far of an interrupted `predict` are gone on with.",
        )


def drop_call_options(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings that a later call needs to do the same again."""
    return {name: value for name, value in settings.items() if name not in _OF_ONE_CALL}


def find_optimizer(settings: Any) -> NamedOptimizer | None:
    """Returns the optimizer that the settings name, with its schedule; `None` for ours."""
    if settings.optimizer is None:
        return None
    schedule = None if settings.lr_scheduler is None else settings.lr_scheduler.as_dict()
    frequency = 1
    if schedule is not None and schedule["class_path"].endswith("ReduceLROnPlateau"):
        frequency = settings.trainer.check_val_every_n_epoch or 1  # it judges validations
    return NamedOptimizer(settings.optimizer.as_dict(), schedule, settings.lr_scheduler_interval, frequency)


def choose_loggers(settings: Any, given: Any, run: Path | None, steps: int | None) -> list[Any]:
    """Returns the loggers of a fit: the files in its folder, the trackers of `--logger`, those of `--trainer.logger`.

    Args:
        settings: Of the fit, parsed.
        given: The value of `--trainer.logger`.
        run: The run's folder; `None` on any rank but the first.
        steps: Optimizer steps that a resumed run has done.
    """
    if given is False:
        return []
    if run is None:
        return [DummyLogger()]  # callbacks that log are on every rank, and may refuse a trainer without a logger
    trackers: list[Any] = []
    if not settings.trainer.fast_dev_run:  # a trial run keeps nothing
        tracked = settings.samples.tracked if settings.samples.questions else False
        trackers = make_trackers(make_list(settings.logger), run, tracked)
    return [*make_run_files(run, steps), *trackers, *([] if isinstance(given, bool) else make_list(given))]


def make_list(value: Any) -> list[Any]:
    """Returns a setting that may be missing, single or a list, as a list."""
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
