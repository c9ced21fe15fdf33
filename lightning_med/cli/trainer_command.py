"""`lightning-med fit`, `validate`, `test`, `predict` and `prepare`: arguments, errors and exit status."""

from __future__ import annotations

import errno
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_med.cli.checkpoint_settings import add_checkpoint_settings
from lightning_med.cli.lightning_cli import TRAINER_HELP, MedCLI, MedTrainer
from lightning_med.cli.output import json_output
from lightning_med.cli.parsing.parser import SettingsParser
from lightning_med.cli.parsing.untrusted_configs import check_configs
from lightning_med.cli.shipped_configs import find_shipped_configs
from lightning_med.data.module import DialogueDataModule
from lightning_med.training.callbacks.save_config import SaveConfig
from lightning_med.training.module import DialogueLM
from lightning_med.utils.console import silence_warnings
from lightning_med.utils.errors import InputError, RunError
from lightning_med.utils.memory.allocator import keep_freed_memory

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_TRAINER_DEFAULTS = {
    "accelerator": "auto",
    "devices": 1,
    "max_epochs": 3,
    "gradient_clip_val": 1.0,
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
}


def main(argv: list[str]) -> int:
    """Runs the command.

    Args:
        argv: The verb and its options.

    Returns:
        The exit status.

    Raises:
        InputError: A setting is wrong.
        RunError: The run cannot continue.
    """
    keep_freed_memory()
    silence_warnings()
    words = [word for word in argv if word != "--json"]
    with json_output.collect_result(len(words) < len(argv)) as result:
        result |= _run(words)
    return 0


def _run(argv: list[str]) -> dict[str, Any]:
    """Runs the verb and returns what `--json` prints."""
    with tempfile.TemporaryDirectory() as folder:
        argv = add_checkpoint_settings(find_shipped_configs(argv), Path(folder))
        check_configs(argv)
        own, sys.argv = sys.argv, [sys.argv[0], *argv]  # LightningCLI reads them there, and so do further ranks
        try:
            return _make_cli(_limit_verbs(MedCLI)).result
        except MisconfigurationException as error:
            raise InputError(str(error), TRAINER_HELP) from error
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            raise RunError(
                f"{error.filename or 'A file of the run'} cannot be written: {error.strerror}.",
                "What was saved before is complete: fix it and continue with --resume auto",
            ) from error
        finally:
            sys.argv = own
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                # Left to the interpreter's exit, its threads may abort there. And where one rank fails, the others must
                # not wait for it.
                torch.distributed.destroy_process_group()


def make_settings_parser() -> LightningArgumentParser:
    """Returns the parser of all verbs that run a trainer; each is a subcommand."""
    try:
        _make_cli(_ParserOnly)
    except _Made as made:
        parser: LightningArgumentParser = made.args[0]
    return parser


class _Made(Exception):
    """Carries a parser that is complete."""


class _ParserOnly(MedCLI):
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        raise _Made(parser)


def _limit_verbs(kind: type[MedCLI]) -> type[MedCLI]:
    """Returns a class that makes the parser of this process's verb alone; those of all five take five times as long."""

    class OneVerb(kind):  # type: ignore[misc, valid-type]
        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            verb = sys.argv[1]
            return {verb: kind.subcommands()[verb]}

        def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
            try:
                super().parse_arguments(parser, args)
            except InputError:
                make_settings_parser().parse_args()  # names the verb that has the setting, if it is another's
                raise

    return OneVerb


def _make_cli(kind: type[MedCLI]) -> MedCLI:
    """Parses the arguments of this process and runs the verb, all in the making of the object."""
    return kind(
        DialogueLM,
        DialogueDataModule,
        trainer_class=MedTrainer,
        trainer_defaults=_TRAINER_DEFAULTS,
        seed_everything_default=42,
        parser_class=SettingsParser,
        save_config_callback=SaveConfig,
        load_from_checkpoint_support=False,
        auto_configure_optimizers=False,
    )
