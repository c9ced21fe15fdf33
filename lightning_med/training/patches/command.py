"""Private parts of LightningCLI, of its CSV logger, and of the environment that a trainer runs in."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.loggers.csv_logs import _ExperimentWriter
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from lightning_med.utils.enums import replace_enums

PRIVATE_NAMES: dict[type, tuple[str, ...]] = {
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
