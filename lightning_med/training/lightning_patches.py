"""Every use of Lightning's private attributes, and every method of Lightning that is replaced; no other file does so.

Written for lightning 2.6.6. `PRIVATE_NAMES` lists what is relied on; a test fails for a release that lacks a name. A
replaced method of a trainer is restored when the last callback removes its action, so one trainer serves several fits.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.loggers.csv_logs import _ExperimentWriter
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from lightning_med.utils.enums import replace_enums

PRIVATE_NAMES: dict[type, tuple[str, ...]] = {
    _TrainingEpochLoop: (
        "on_advance_end",
        "_should_check_val_fx",
        "_should_check_val_epoch",
        "_should_accumulate",
        "_num_ready_batches_reached",
    ),
    _FitLoop: ("_should_accumulate", "_can_stop_early"),
    _SignalConnector: ("_slurm_sigusr_handler_fn",),
    _ExperimentWriter: ("_check_log_dir_exists",),
    LightningCLI: (
        "_prepare_subcommand_parser",
        "_parse_ckpt_path",
        "_set_seed",
        "_instantiate_trainer",
        "_run_subcommand",
        "_prepare_subcommand_kwargs",
        "_parser",
    ),
}


class _AfterEachBatch:
    """Replacement of an epoch loop's `on_advance_end`: the original, then the actions, in the order they were added."""

    def __init__(self, loop: Any) -> None:
        self.loop, self.original = loop, loop.on_advance_end
        self.actions: list[Callable[[], None]] = []

    def __call__(self, data_fetcher: Any) -> None:
        loop = self.loop
        # When a run resumes from a state in which a validation has just run, the loop passes here once without a batch
        # and counts a step for it. The saved state therefore holds one step less; not if only a stop calls for it.
        is_to_stop, loop.trainer.should_stop = loop.trainer.should_stop, False
        counted = int(loop._should_check_val_fx(data_fetcher) and not loop._should_accumulate())
        loop.trainer.should_stop = is_to_stop
        self.original(data_fetcher)
        loop._batches_that_stepped -= counted
        for action in self.actions:
            action()
        loop._batches_that_stepped += counted


def call_between_batches(trainer: L.Trainer, action: Callable[[], None], first: bool = False) -> None:
    """Calls `action` after each training batch, once its metrics are logged and a validation that is due has run.

    Args:
        action: It takes no arguments.
        first: Before the actions that are there already, which may save what this one changes.

    Lightning has no hook at this point. In `on_train_batch_end` the batch counts as unfinished, its metrics are not
    logged and the validation is still to come, so a run resumed from there would lose or repeat one of them.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    if not isinstance(loop.on_advance_end, _AfterEachBatch):
        loop.on_advance_end = _AfterEachBatch(loop)
    actions = loop.on_advance_end.actions
    actions.insert(0 if first else len(actions), action)


def stop_between_batches(trainer: L.Trainer, action: Callable[[], None]) -> None:
    """Undoes `call_between_batches`; the last one to leave restores Lightning's method. Unknown actions are ignored."""
    loop: Any = trainer.fit_loop.epoch_loop
    hook = loop.on_advance_end
    if isinstance(hook, _AfterEachBatch) and action in hook.actions:
        hook.actions.remove(action)
        if not hook.actions:
            del loop.on_advance_end  # the class's own method is visible again


class _ValidationAtStepEnd:
    """Replacement of an epoch loop's `_should_check_val_fx`: a validation waits for the end of its optimizer step.

    A run can resume from there alone. The answer depends on the position in the epoch and on nothing that was seen
    before, so that a loop that resumes after a validation knows that it has run.
    """

    def __init__(self, trainer: L.Trainer) -> None:
        self.trainer, self.original = trainer, trainer.fit_loop.epoch_loop._should_check_val_fx

    def __call__(self, data_fetcher: Any) -> bool:
        trainer, loop = self.trainer, self.trainer.fit_loop.epoch_loop
        if loop._should_accumulate():
            return False
        if self.original(data_fetcher):
            return True
        every: Any = trainer.val_check_batch
        if not loop._should_check_val_epoch() or not isinstance(every, int):
            return False
        last = loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx
        batches = loop.batch_idx % trainer.accumulate_grad_batches + 1  # of this step
        return (last + 1) // every > (last + 1 - batches) // every


def validate_at_step_ends(trainer: L.Trainer) -> None:
    """Delays each validation within an epoch to the end of its optimizer step; `restore_validation` undoes it."""
    loop: Any = trainer.fit_loop.epoch_loop
    if not isinstance(loop._should_check_val_fx, _ValidationAtStepEnd):
        loop._should_check_val_fx = _ValidationAtStepEnd(trainer)


def restore_validation(trainer: L.Trainer) -> None:
    """Undoes `validate_at_step_ends`."""
    loop: Any = trainer.fit_loop.epoch_loop
    if isinstance(loop._should_check_val_fx, _ValidationAtStepEnd):
        del loop._should_check_val_fx


def is_at_step_boundary(trainer: L.Trainer) -> bool:
    """Returns whether the last batch ended an optimizer step: its window is full, or the epoch ends."""
    return not trainer.fit_loop._should_accumulate()


def has_epoch_ended(trainer: L.Trainer) -> bool:
    """Returns whether the last batch was the last of its epoch."""
    return bool(trainer.fit_loop.epoch_loop._num_ready_batches_reached())


def will_fit_end(trainer: L.Trainer) -> bool:
    """Returns whether a fit ends after this batch, for whatever reason."""
    return find_reached_limit(trainer) != "" or bool(trainer.should_stop and trainer.fit_loop._can_stop_early)


def find_reached_limit(trainer: L.Trainer) -> str:
    """Returns what a fit has done all of, `steps` or `epochs`; empty if neither."""
    if 0 < trainer.max_steps <= trainer.global_step:
        return "steps"
    done = count_epochs(trainer)
    return "epochs" if trainer.max_epochs is not None and 0 < trainer.max_epochs <= done else ""


def count_epochs(trainer: L.Trainer) -> int:
    """Returns the epochs whose batches are all done."""
    progress: Any = trainer.fit_loop.epoch_progress.current
    if progress.ready > progress.processed:  # between two batches, or after the last one
        return int(progress.processed + has_epoch_ended(trainer))
    # The loop counts an epoch in which it stopped as processed.
    return int(max(progress.processed - (not has_epoch_ended(trainer)), 0))


def find_trainer(module: L.LightningModule) -> L.Trainer | None:
    """Returns the trainer a module is attached to; its public property raises where there is none."""
    return module._trainer  # type: ignore[return-value]


def requeue_slurm_job(trainer: L.Trainer, number: int) -> None:
    """Lets Lightning put a SLURM job back into the queue, if signal `number` is the one that announces its end.

    Lightning's handler would also save a checkpoint beside all runs, from which any later job there would start. Its
    `save_checkpoint` therefore does nothing during the call.
    """
    environment: Any = trainer._accelerator_connector.cluster_environment
    if not isinstance(environment, SLURMEnvironment) or not environment.auto_requeue:
        return
    from signal import SIGUSR1  # SLURM, hence not on Windows, which has none

    if number == (environment.requeue_signal or SIGUSR1):
        trainer.save_checkpoint = lambda *args, **kwargs: None  # type: ignore[method-assign]
        try:
            trainer._signal_connector._slurm_sigusr_handler_fn(number, None)  # type: ignore[arg-type]
        finally:
            del trainer.save_checkpoint  # type: ignore[misc]


def find_validation_time(trainer: L.Trainer) -> float | None:
    """Returns the seconds between validations by the clock; `None` where batches or epochs are counted."""
    return getattr(trainer, "_val_check_time_interval", None)


def restore_metrics(trainer: L.Trainer, metrics: dict[str, float]) -> None:
    """Lets callbacks that monitor a metric find the values that were logged before a fit was interrupted."""
    trainer._logger_connector._callback_metrics.update({name: torch.tensor(value) for name, value in metrics.items()})


def judge_after_validation(stopping: EarlyStopping) -> None:
    """Lets early stopping judge when a validation ends; its default may be the epoch's end, after the step is saved."""
    if stopping._check_on_train_epoch_end is None:
        stopping._check_on_train_epoch_end = False


def set_parallel_sizes(strategy: ModelParallelStrategy) -> None:
    """Lets all ranks share the weights, where Lightning would take the node's processes alone."""
    strategy._data_parallel_size, strategy._tensor_parallel_size = strategy.num_nodes * strategy.num_processes, 1


def forget_recorded_handler(trainer: L.Trainer, ours: Any, before: dict[int, Any]) -> None:
    """Replaces a signal handler of ours, where Lightning has recorded it to be restored, by the one before it."""
    recorded: Any = trainer._signal_connector._original_handlers
    for number, handler in recorded.items():
        if handler == ours and number in before:
            recorded[number] = before[number]


class AppendingCSVLogger(CSVLogger):
    """Logs to `metrics.csv` and appends to an existing one, which Lightning's logger deletes."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _AppendingWriter(log_dir=self.log_dir)
        return self._experiment


class _AppendingWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.metrics_keys = next(csv.reader(file), [])


class HookedCLI(LightningCLI):
    """LightningCLI with public hooks at the steps that it keeps private. `MedCLI` builds on them."""

    def add_subcommand_arguments(self, parser: LightningArgumentParser, subcommand: str) -> None:
        """Adds options to one subcommand's parser."""

    def check_seed(self, seed: bool | int) -> None:
        """Checks `seed_everything` before it is used."""

    def choose_callbacks(self, configured: list[Callback]) -> list[Callback]:
        """Returns the callbacks of this call, given those of the settings."""
        return configured

    def change_arguments(self, subcommand: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Returns the arguments for the trainer's method of this name."""
        return arguments

    def run_subcommand(self, run: Callable[[], None]) -> None:
        """Calls `run`, which runs the trainer's method and the hooks around it."""
        run()

    def dump_settings(self) -> str:
        """Returns the settings of this call as YAML."""
        parser = self._parser(self.subcommand)
        settings = replace_enums(self.config[self.subcommand].clone())
        return str(parser.dump(settings, skip_none=False, skip_validation=True))

    def find_default(self, name: str) -> Any:
        """Returns the default of a setting of this call, for instance of `model.lr`."""
        return self._parser(self.subcommand).get_default(name)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        self.add_subcommand_arguments(parser, subcommand)
        return parser

    def _set_seed(self) -> None:
        self.check_seed(self.config[self.subcommand]["seed_everything"])
        super()._set_seed()

    def _parse_ckpt_path(self) -> None:
        """Does nothing: Lightning lets a checkpoint's hyperparameters win over the command line, without a word."""

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> L.Trainer:
        chosen = self.choose_callbacks(callbacks)
        if self.subcommand == "fit":
            return super()._instantiate_trainer(config, chosen)
        return self.trainer_class(**{**config, "callbacks": chosen})  # callbacks of the settings belong to the fit

    def _run_subcommand(self, subcommand: str) -> None:
        inherited = super()._run_subcommand
        self.run_subcommand(lambda: inherited(subcommand))

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        return self.change_arguments(subcommand, super()._prepare_subcommand_kwargs(subcommand))
