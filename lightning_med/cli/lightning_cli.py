"""MedCLI: LightningCLI for `fit`, `validate`, `test`, `predict` and `prepare`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning import Trainer
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from lightning_med.checkpoints.checkpoint_files import CHECKPOINTS, find_last_checkpoint
from lightning_med.checkpoints.reading import read_card, read_checkpoint
from lightning_med.checkpoints.run_folder import create_version, get_runs_folder, hold_lock, remove_unstarted
from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.cli import resume, run_names, setting_checks, trainer_options
from lightning_med.cli.checkpoint_settings import EVALUATIONS, inherits_tables, names_other_data
from lightning_med.cli.output import next_steps, results
from lightning_med.data.module import DialogueDataModule
from lightning_med.data.report.data_report import print_report, write_report
from lightning_med.tokenization.prompts import read_prompt
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.forecast import Forecast
from lightning_med.training.callbacks.hparams import HyperParameters
from lightning_med.training.callbacks.predictions import PredictionWriter
from lightning_med.training.callbacks.progress import choose_progress
from lightning_med.training.callbacks.save_config import SaveConfig
from lightning_med.training.callbacks.save_on_signal import SaveOnSignal
from lightning_med.training.callbacks.throughput import Throughput
from lightning_med.training.fit_loop.fit_end import EARLY, find_end, is_out_of_time
from lightning_med.training.optimization.other_optimizers import require_one_optimizer
from lightning_med.training.patches.command import HookedCLI
from lightning_med.training.run_recorder import RunRecorder, digest_rows
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError, RunError, describe_error
from lightning_med.utils.files import make_writable_folder
from lightning_med.utils.precision import choose_precision
from lightning_med.utils.ranks import is_first_rank

TRAINER_HELP = "lightning-med VERB --help shows the trainer's options."


class MedTrainer(Trainer):
    """Lightning's trainer with one method more, for the verb `prepare`."""

    def prepare(self, datamodule: LightningDataModule, output: str | None = None) -> None:
        """Clean, split and tokenize the data into the cache, and write the data report.

        Args:
            output: Folder of the report; default `data_report` under `--trainer.default_root_dir`.
        """
        assert isinstance(datamodule, DialogueDataModule)
        folder = Path(output) if output else Path(self.default_root_dir) / "data_report"
        prepared = datamodule.prepared
        make_writable_folder(folder, "--output DIR")
        write_report(prepared, folder)
        print_report(prepared)
        self.report = folder / "report.html"
        print(f"report: {self.report}")


class MedCLI(HookedCLI):
    """LightningCLI with run folders, self-contained checkpoints, and settings that are checked before the work."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.run_folder: Path | None = None  # of a fit, on the first rank
        self.card: dict[str, Any] | None = None  # of the checkpoint to be loaded
        self.steps_done = 0  # optimizer steps that a resumed run has done
        self.result: dict[str, Any] = {}  # for `--json`
        self.is_finished = False  # the run to be resumed has nothing left to do
        self._locks = ExitStack()
        try:
            super().__init__(*args, **kwargs)
        finally:
            self._locks.close()

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {**LightningCLI.subcommands(), "prepare": {"datamodule"}}

    @property
    def verb(self) -> str:
        """The subcommand."""
        return str(self.subcommand)

    @property
    def settings(self) -> Any:
        """The subcommand's settings, as parsed."""
        return self.config[self.verb]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        trainer_options.add_run_options(parser)

    def add_subcommand_arguments(self, parser: LightningArgumentParser, subcommand: str) -> None:
        trainer_options.add_verb_options(parser, subcommand)

    # ------------------------------------------------------------------ before the work

    def check_seed(self, seed: bool | int) -> None:
        setting_checks.check_seed(seed)

    def before_instantiate_classes(self) -> None:
        settings = self.settings
        setting_checks.check_launch(settings.trainer)
        setting_checks.check_verb(self.verb, sys.argv[2:])
        if self.verb == "prepare":
            setting_checks.check_model(settings)
            return
        is_named = settings.name is not None
        settings.name = settings.name or run_names.name_run(settings.config)
        home = get_runs_folder(settings.trainer.default_root_dir, settings.name)
        if self.verb == "fit":
            run = resume.choose_run(home, settings, is_named)
            self.run_folder = run if is_first_rank() else None
        elif settings.ckpt_path == "last":
            settings.ckpt_path = str(find_last_checkpoint(home, run_names.find_versions(home, settings, is_named)))
        setting_checks.check_checkpoint_option(self.verb, settings.ckpt_path)
        if settings.ckpt_path:
            content = read_checkpoint(settings.ckpt_path)
            self.card = read_card(content)
            if self.verb == "fit":
                plain = yaml.safe_load(self.dump_settings())
                self.steps_done = int(content["global_step"]) if settings.resume else 0
                self.is_finished = resume.is_finished(content, plain)
        setting_checks.check_settings(self.verb, settings, sys.argv[2:])
        if self.verb == "fit" and self.card:
            setting_checks.check_same_optimizer(self.card["settings"], plain)
        if self.verb == "fit" and self.run_folder is None and is_first_rank():
            self.run_folder = create_version(home)
        if self.run_folder is not None:
            self._locks.enter_context(hold_lock(self.run_folder))
            self._locks.callback(remove_unstarted, self.run_folder)  # at the end, while the lock is held

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        options = self._make_trainer_options()
        try:
            trainer = super().instantiate_trainer(**options, **kwargs)
        except (ValueError, TypeError, ModuleNotFoundError) as error:
            raise InputError(str(error), TRAINER_HELP) from error
        except RuntimeError as error:  # two callbacks of a kind whose states would be one
            raise InputError(describe_error(error).partition(". ")[0] + ".", TRAINER_HELP) from error
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, SaveConfig):
                root = self.settings.trainer.default_root_dir
                callback.use_run(self.run_folder, run_names.find_origin(self.settings.config, root))
            elif isinstance(callback, Checkpoints) and self.run_folder is not None:
                callback.use_folder(self.run_folder / CHECKPOINTS)
        if self.card and self.card["settings"].get("data", {}).get("tokenizer") == self.datamodule.recipe.tokenizer:
            prompt = None if self.verb == "fit" else read_prompt(self.card)
            self.datamodule.use_tokenizer(self.card["tokenizer"], prompt)
        if self.card and self.verb == "fit" and not self.settings.resume_anyway:
            self.datamodule.use_prepared(self.card["data"])
        saved = trainer_options.drop_call_options(yaml.safe_load(self.dump_settings()))
        if self.card and self.verb in EVALUATIONS and names_other_data(self.card, saved["data"], sys.argv[2:]):
            self.datamodule.count_all_rows(self.card["data"].get("content", ""))  # earlier releases kept none
        if self.card and self.verb in EVALUATIONS and inherits_tables(self.card, saved["data"], sys.argv[2:]):
            self.datamodule.check_run_data_alone(self.card["data"].get("content", ""))
        if self.verb == "fit" and (named := trainer_options.find_optimizer(self.settings)):
            setting_checks.check_replaceable(self.model)
            self.model.configure_optimizers = partial(require_one_optimizer(named.configure), self.model)
            unused = setting_checks.list_unused(self.settings, self.find_default)
            say(f"optimizer: {named}" + (f"; not used: {', '.join(unused)}." if unused else "."))
        self.model.use_run(saved, self.settings.get("ckpt_path"), bool(self.settings.get("resume_anyway")))
        return trainer

    def _make_trainer_options(self) -> dict[str, Any]:
        """Returns the trainer's arguments that the verb and the run's folder decide."""
        given = self.config_init[self.verb].trainer
        fit, steps = self.verb == "fit", self.steps_done if self.settings.get("resume") else None
        loggers = trainer_options.choose_loggers(self.settings, given.logger, self.run_folder, steps) if fit else []
        devices: dict[str, Any] = trainer_options.WITHOUT_DEVICES
        if self.verb != "prepare":
            devices = {"precision": choose_precision(given.precision, given.accelerator)}
        return {
            **devices,
            "logger": loggers or False,
            "enable_checkpointing": fit and given.enable_checkpointing is not False,
            "plugins": [*trainer_options.make_list(given.plugins), AtomicCheckpointIO()],
        }

    def choose_callbacks(self, configured: list[Callback]) -> list[Callback]:
        given = self.config_init[self.verb].trainer
        enabled = given.enable_progress_bar is not False
        progress = choose_progress(self.verb, trainer_options.make_list(given.callbacks), enabled)
        if self.verb == "fit":
            own = [SaveOnSignal(), Throughput(), Forecast(), HyperParameters(), RunRecorder(self.run_folder)]
            return [*progress, *configured, *own]
        if self.verb == "predict":
            path = results.find_output(self.settings, results.PREDICTIONS)
            return [*progress, SaveOnSignal(), PredictionWriter(path, self.settings.overwrite)]
        return [*progress, SaveOnSignal()]

    def change_arguments(self, subcommand: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if "weights_only" in arguments:
            arguments["weights_only"] = True  # a checkpoint is data, never code
        if "verbose" in arguments:
            arguments["verbose"] = False  # the results are printed once, in full precision
        if subcommand == "prepare":
            del arguments["model"]
        if subcommand == "predict":
            arguments["return_predictions"] = False  # the writer has them
        return arguments

    # ------------------------------------------------------------------ the work, and after it

    def run_subcommand(self, run: Callable[[], None]) -> None:
        if self.is_finished and self.run_folder is not None:
            end, more = "is finished", "raise --trainer.max_epochs or max_steps"
            if self.card and self.card["finished"] == EARLY:
                end, more = "is finished: it was stopped early", "change its callback, for instance its patience"
            print(f"{self.run_folder} {end}, at step {self.steps_done}. To train on, {more}.")
            self.after_fit()
        if self.is_finished:
            return
        try:
            run()
        except torch.cuda.OutOfMemoryError as error:
            tokens = self.model.loss_monitor.batch_tokens
            raise RunError(
                f"The GPU's memory is full, with a batch of {tokens:,} tokens.",
                f"Give --data.batch_tokens {max(tokens // 2, 1)}, or auto; --data.tokens_per_step keeps the step.",
            ) from error

    def after_fit(self) -> None:
        if not self.is_finished and find_end(self.trainer) == EARLY:
            say(f"Stopped early, at step {self.trainer.global_step}.")
        if not self.is_finished and is_out_of_time(self.trainer) and not find_end(self.trainer):
            say(f"Out of time, at step {self.trainer.global_step}: the same command with --resume auto goes on.")
        if self.run_folder is not None:
            next_steps.print_after_fit(self.run_folder)
            self.result = results.describe_fit(self.run_folder, self.trainer, self.steps_done)

    def _write_results(self) -> None:
        if is_first_rank():
            path = results.find_output(self.settings, f"{self.verb}.json")
            fingerprint = self.datamodule.prepared.fingerprint
            limit = self.trainer.limit_val_batches if self.verb == "validate" else self.trainer.limit_test_batches
            rows = digest_rows(self.datamodule, "validation" if self.verb == "validate" else "test", limit)
            self.result = results.write_results(path, self.model.results, self.settings.ckpt_path, fingerprint, rows)
            next_steps.print_export(self.settings.ckpt_path)

    after_validate = after_test = _write_results

    def after_predict(self) -> None:
        if is_first_rank():
            path = results.find_output(self.settings, results.PREDICTIONS)
            self.result = {"predictions": path, "safety": results.write_safety_counts(path)}
            print(f"predictions: {path}")
            next_steps.print_export(self.settings.ckpt_path)

    def after_prepare(self) -> None:
        next_steps.print_after_prepare(sys.argv[2:])
        self.result = results.describe_prepared(self.trainer.report, self.datamodule.prepared)  # type: ignore[attr-defined]
