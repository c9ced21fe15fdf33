"""The verbs on a trainer: fit, validate, test, predict, and prepare, which is the data alone."""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning import Trainer
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_med.checkpoints import checkpoint_files
from lightning_med.checkpoints.reading import read_card, read_checkpoint
from lightning_med.checkpoints.run_folder import create_version, hold_lock, remove_unstarted, runs_folder
from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.cli import resume
from lightning_med.cli.checkpoint_settings import EVALUATIONS, add_checkpoint_settings
from lightning_med.cli.shipped_configs import find_shipped_configs
from lightning_med.cli.untrusted_configs import check_configs
from lightning_med.data.batching.step_size import check_accumulation
from lightning_med.data.module import DialogueDataModule
from lightning_med.data.report.data_report import print_report, write_report
from lightning_med.training import loggers
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.hparams import HyperParameters
from lightning_med.training.callbacks.predictions import PredictionWriter
from lightning_med.training.callbacks.progress import ProgressBar
from lightning_med.training.callbacks.sample_answers import SampleAnswers
from lightning_med.training.callbacks.save_config import SaveConfig
from lightning_med.training.callbacks.signals import SaveOnSignal
from lightning_med.training.callbacks.throughput import Forecast, Throughput
from lightning_med.training.module import DialogueLM
from lightning_med.utils.allocator import keep_freed_memory
from lightning_med.utils.console import is_first_rank, silence_warnings
from lightning_med.utils.errors import InputError, RunError
from lightning_med.utils.files import make_writable_folder, write_text
from lightning_med.utils.precision import choose_precision

_TRAINER_HELP = "lightning-med VERB --help shows the trainer's options."
# Of one call, not of the run: saved, they would hold for every later call that takes the run's settings.
_NOT_SAVED = ("config", "ckpt_path", "weights_only", "resume", "resume_anyway", "checkpoint_every")


class MedTrainer(Trainer):
    """Lightning's trainer with one verb more."""

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
        print(f"report: {folder / 'report.html'}")


class MedCLI(LightningCLI):
    """LightningCLI with a run's folder, checkpoints that are enough, and errors of one line."""

    run: Path | None = None  # of a fit, on the first rank
    card: dict[str, Any] | None = None  # of the checkpoint to be loaded
    done = 0  # optimizer steps that a resumed run has behind it
    finished = False  # the run that was to be resumed has nothing left to do

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held = ExitStack()
        try:
            super().__init__(*args, **kwargs)
        finally:
            self._held.close()
            if self.run is not None:
                remove_unstarted(self.run)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {**LightningCLI.subcommands(), "prepare": {"datamodule"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--name", type=str | None, default=None, help="Name of the run; default: the config's name."
        )
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.add_lightning_class_args(SampleAnswers, "samples")

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "fit":
            parser.add_argument(
                "--resume",
                type=str | None,
                default=None,
                help="auto: go on with the newest run of this name, if it is unfinished; else start.",
            )
            parser.add_argument(
                "--resume_anyway", type=bool, default=False, help="Go on although the settings are not the run's."
            )
            parser.add_argument(
                "--checkpoint_every", type=int | None, default=None, help="Save each so many optimizer steps."
            )
        if subcommand in EVALUATIONS:
            parser.add_argument("--output", type=str | None, default=None, help="File to write; default: in the run.")
        return parser

    def _parse_ckpt_path(self) -> None:
        """The settings given now hold; those of a checkpoint are defaults, put in place by `with_saved_settings`."""

    # ------------------------------------------------------------------ before

    def before_instantiate_classes(self) -> None:
        settings = self.config[self.subcommand]
        if self.subcommand == "prepare":
            return
        settings.name = settings.name or name_of_config(settings.config) or "run"
        home = runs_folder(settings.trainer.default_root_dir, settings.name)
        if self.subcommand == "fit":
            run = resume.choose_run(home, settings)
            self.run = run if is_first_rank() else None
        elif settings.ckpt_path == "last":
            settings.ckpt_path = str(checkpoint_files.find_last_checkpoint(home))
        if settings.ckpt_path:
            if str(settings.ckpt_path).startswith(("http://", "https://")):
                raise InputError(
                    "--ckpt_path takes a file, not an address.", "Download it first, from a place you trust."
                )
            content = read_checkpoint(settings.ckpt_path)
            self.card = read_card(content)
            if self.subcommand == "fit":
                self.done = int(content["global_step"]) if settings.resume else 0
                self.finished = resume.is_finished(content, settings)
        elif self.subcommand in EVALUATIONS:
            raise InputError(
                f"{self.subcommand} needs to know which checkpoint.",
                f"lightning-med {self.subcommand} --ckpt_path RUN/checkpoints/last.ckpt",
            )
        if self.subcommand == "predict" and settings.trainer.strategy == "sharded":
            raise InputError(
                "predict: ranks that share the weights cannot answer each its own questions.",
                "Leave --trainer.strategy sharded out; several ranks with --trainer.strategy ddp share the questions.",
            )
        self._check_numbers()
        self._check_output()
        if self.subcommand == "fit" and self.run is None and is_first_rank():
            self.run = create_version(home)
        if self.run is not None:
            self._held.enter_context(hold_lock(self.run))

    def _check_numbers(self) -> None:
        trainer = self.config[self.subcommand].trainer
        if self.subcommand == "fit" and 0 in (trainer.max_epochs, trainer.max_steps):
            raise InputError("0 epochs or steps train nothing.", "Give --trainer.max_epochs or --trainer.max_steps.")
        fractions = {"validate": "val_fraction", "test": "test_fraction", "predict": "test_fraction"}
        if self.subcommand == "fit" and trainer.enable_checkpointing is False:
            raise InputError("--trainer.enable_checkpointing false: a fit always keeps its last step.", "Leave it out.")
        if self.subcommand == "fit":
            data = self.config[self.subcommand].data
            check_accumulation(data.tokens_per_step, trainer.accumulate_grad_batches)
        name = fractions.get(self.subcommand or "")
        if name and not self.config[self.subcommand].data[name]:
            raise InputError(f"{self.subcommand}: {name} is 0, so there is no row to take.", f"Give --data.{name} 0.1")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        settings = self.config_init[self.subcommand].trainer
        if self.subcommand == "prepare":
            kwargs["precision"] = None  # nothing is computed
        else:
            kwargs["precision"] = choose_precision(settings.precision, settings.accelerator)
        fitting = self.subcommand == "fit"
        kwargs["logger"] = False
        if self.run is not None and settings.logger is not False:
            others = [] if isinstance(settings.logger, bool) else _as_list(settings.logger)
            resumed = self.config[self.subcommand].resume is not None
            kwargs["logger"] = [*loggers.make_loggers(self.run, self.done if resumed else None), *others]
        kwargs["enable_checkpointing"] = fitting and settings.enable_checkpointing is not False
        kwargs["plugins"] = [*_as_list(settings.plugins), AtomicCheckpointIO()]
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except ValueError as error:
            raise InputError(str(error), _TRAINER_HELP) from error
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, SaveConfig):
                callback.run = self.run
            elif isinstance(callback, Checkpoints) and self.run is not None:
                callback.folder = self.run / checkpoint_files.CHECKPOINTS
        if self.card and self.card["settings"].get("data", {}).get("tokenizer") == self.datamodule.recipe.tokenizer:
            self.datamodule.tokenizer_text = self.card["tokenizer"]
        self.model.settings, self.model.checkpoint = self._settings(), self.config[self.subcommand].get("ckpt_path")
        self.model.resume_anyway = bool(self.config[self.subcommand].get("resume_anyway"))
        return trainer

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        if self.subcommand == "fit":
            return super()._instantiate_trainer(config, [*callbacks, *self._callbacks()])
        # The callbacks of the settings belong to the fit.
        return self.trainer_class(**{**config, "callbacks": self._callbacks()})

    def _callbacks(self) -> list[Callback]:
        common: list[Callback] = [SaveOnSignal(), ProgressBar()]
        if self.subcommand == "fit":
            return [*common, Throughput(), Forecast(), HyperParameters()]
        if self.subcommand == "predict":
            return [*common, PredictionWriter(self._output("predictions.jsonl"))]
        return common

    def _settings(self) -> dict[str, Any]:
        """What a later call needs to do the same again: the settings without those of this call alone."""
        parser = self._parser(self.subcommand)
        text = parser.dump(self.config[self.subcommand], skip_none=False, skip_validation=True)
        return {key: value for key, value in yaml.safe_load(text).items() if key not in (*_NOT_SAVED, "output")}

    def _output(self, name: str) -> Path:
        settings = self.config[self.subcommand]
        return Path(settings.output) if settings.output else checkpoint_files.find_run_folder(settings.ckpt_path) / name

    def _check_output(self) -> None:
        """Before the work, not after it."""
        if self.subcommand not in EVALUATIONS:
            return
        path = self._output("x")
        if path.is_dir():
            raise InputError(f"--output {path} is a folder.", "Name a file.")
        make_writable_folder(path.parent, "--output FILE")

    # ------------------------------------------------------------------ after

    def _run_subcommand(self, subcommand: str) -> None:
        if not self.finished:
            try:
                super()._run_subcommand(subcommand)
            except torch.cuda.OutOfMemoryError as error:
                tokens = self.model.numbers.tokens
                raise RunError(
                    f"The GPU's memory is full, with a batch of {tokens:,} tokens.",
                    f"Give --data.batch_tokens {max(tokens // 2, 1)}, or auto; --data.tokens_per_step keeps the step.",
                ) from error
        elif self.run is not None:
            print(f"{self.run} is finished, at step {self.done}. To train on, raise --trainer.max_epochs or max_steps.")
            self.after_fit()

    def after_fit(self) -> None:
        if self.run is None:
            return
        folder = self.run / checkpoint_files.CHECKPOINTS
        best = sorted(folder.glob("best*.ckpt"))
        chosen = best[0] if best else folder / "last.ckpt"
        if not chosen.is_file():
            return  # a trial run keeps nothing
        print(f"run: {self.run}")
        export = f"lightning-med export --checkpoint {quote(chosen)} --output {quote(self.run / 'export')}"
        print(f'next: {export} && lightning-med respond --model {quote(self.run / "export")} "My tongue is sore."')

    def after_validate(self) -> None:
        self._write_results("validate.json")

    def after_test(self) -> None:
        self._write_results("test.json")

    def after_predict(self) -> None:
        if not is_first_rank():
            return
        path = self._output("predictions.jsonl")
        print(f"predictions: {path}")
        print(f"next: {self._export_line()}")

    def after_prepare(self) -> None:
        words = list(sys.argv[2:])
        if "--output" in words:
            del words[(at := words.index("--output")) : at + 2]
        print("next: lightning-med fit", *(quote(word) for word in words if not word.startswith("--output=")))

    def _write_results(self, name: str) -> None:
        if not is_first_rank():
            return
        path = self._output(name)
        settings = self.config[self.subcommand]
        results = {
            **self.model.results,
            "checkpoint": str(settings.ckpt_path),
            "data": self.datamodule.prepared.fingerprint,
        }
        write_text(path, json.dumps(results, indent=2) + "\n")
        for key, value in self.model.results.items():
            print(f"{key}: {value:,}" if isinstance(value, int) else f"{key}: {value:.4f}")
        print(f"results: {path}")
        print(f"next: {self._export_line()}")

    def _export_line(self) -> str:
        path = Path(self.config[self.subcommand].ckpt_path)
        return f"lightning-med export --checkpoint {quote(path)} --output {quote(checkpoint_files.find_run_folder(path) / 'export')}"

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if "weights_only" in kwargs:
            kwargs["weights_only"] = True  # a checkpoint is data, never code
        if "verbose" in kwargs:
            kwargs["verbose"] = False  # the results are printed once, in full precision
        if subcommand == "prepare":
            del kwargs["model"]
        if subcommand == "predict":
            kwargs["return_predictions"] = False  # the writer has them
        return kwargs


class _Parser(LightningArgumentParser):
    def error(self, message: str, ex: Exception | None = None) -> Any:
        raise InputError(*_shorten_message(message))


def main(argv: list[str]) -> int:
    """Runs `fit`, `validate`, `test`, `predict` or `prepare` with its options; returns the exit status."""
    keep_freed_memory()
    silence_warnings()
    with tempfile.TemporaryDirectory() as folder:
        argv = add_checkpoint_settings(find_shipped_configs(argv), Path(folder))
        check_configs(argv)
        before, sys.argv = sys.argv, [sys.argv[0], *argv]  # LightningCLI reads them there, and so do further ranks
        try:
            MedCLI(
                DialogueLM,
                DialogueDataModule,
                trainer_class=MedTrainer,
                trainer_defaults={
                    "accelerator": "auto",
                    "devices": 1,
                    "max_epochs": 3,
                    "gradient_clip_val": 1.0,
                    "log_every_n_steps": 10,
                    "num_sanity_val_steps": 0,
                    "enable_model_summary": False,
                },
                seed_everything_default=42,
                parser_class=_Parser,
                save_config_callback=SaveConfig,
                load_from_checkpoint_support=False,
                auto_configure_optimizers=False,
            )
        except MisconfigurationException as error:
            raise InputError(str(error), _TRAINER_HELP) from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
                raise
            raise RunError(
                f"{error.filename or 'A file of the run'} cannot be written: {error.strerror}.",
                "What was saved before is whole: fix it and continue with --resume auto",
            ) from error
        finally:
            sys.argv = before
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                # Left to the interpreter's end, its threads may abort there; and where one rank fails, the others
                # must not wait for it.
                torch.distributed.destroy_process_group()
    return 0


def name_of_config(given: Any) -> str | None:
    """The name of the first config file, without its ending; a run's saved `config.yaml` has its run's name."""
    for path in given or []:
        path = Path(os.fspath(getattr(path, "absolute", path)))
        return path.resolve().parent.parent.name if path.name == "config.yaml" else path.stem
    return None


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def quote(path: str | Path) -> str:
    return shlex.quote(str(path))


def _shorten_message(message: str) -> tuple[str, str]:
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    return " ".join(lines)[:400], "All settings: lightning-med VERB --help; the shipped configs show the usual ones."
