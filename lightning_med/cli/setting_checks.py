"""Checks of settings against each other, made before any work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import unwrap
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

from lightning_med.cli.checkpoint_settings import EVALUATIONS
from lightning_med.cli.output.results import find_output
from lightning_med.cli.trainer_options import find_optimizer, make_list
from lightning_med.data.batching.tokens_per_step import check_accumulation
from lightning_med.model.adaptation import Adaptation
from lightning_med.model.causal_lm import check_from_scratch
from lightning_med.training.base_checks import check_base, check_trainer, check_training
from lightning_med.training.loggers.trackers import check_trackers
from lightning_med.training.module import DialogueLM
from lightning_med.training.optimization.other_optimizers import check_automatic
from lightning_med.training.register import checks as register
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError
from lightning_med.utils.files import make_writable_folder
from lightning_med.utils.precision import find_precision, runs_on_cpu
from lightning_med.utils.ranks import settle_rank

_OWN = ("model.lr", "model.weight_decay", "model.warmup_fraction")  # what only our own optimizer has
_OPTIMIZER = ("optimizer", "lr_scheduler", "lr_scheduler_interval")


def check_checkpoint_option(verb: str, ckpt_path: str | None) -> None:
    """Checks that a checkpoint is named where one is needed, and that it is a file.

    Raises:
        InputError: It is missing, or an address.
    """
    if str(ckpt_path).startswith(("http://", "https://")):
        raise InputError("--ckpt_path takes a file, not an address.", "Download it first, from a place you trust.")
    if verb in EVALUATIONS and not ckpt_path:
        raise InputError(
            f"{verb} needs to know which checkpoint.",
            f"lightning-med {verb} --ckpt_path RUN/checkpoints/last.ckpt",
        )


def check_verb(verb: str, options: Sequence[str]) -> None:
    """Checks that a command line asks no other verb for what `fit` alone does; a config is for all of them.

    Args:
        verb: The subcommand.
        options: The words of the command line after the verb.

    Raises:
        InputError: It does.
    """
    if verb != "fit" and any(word.partition("=")[0].rstrip("+") == "--logger" for word in options):
        raise InputError(f"--logger: {verb} logs nothing, fit does.", "Leave it out.")


def check_settings(verb: str, settings: Any, options: Sequence[str] = ()) -> None:
    """Checks the settings of a verb that runs a trainer.

    Args:
        verb: The subcommand.
        settings: Parsed.
        options: The words of the command line after the verb.

    Raises:
        InputError: Two of them contradict each other, or one asks for what cannot be done.
    """
    register.check_settings(settings.trainer, verb == "fit")
    if verb == "fit":
        _check_fit(settings)
        _check_optimizer(settings, options)
    if verb == "predict" and settings.trainer.strategy == "sharded":
        raise InputError(
            "predict: ranks that share the weights cannot answer different questions.",
            "Leave --trainer.strategy sharded out; several ranks with --trainer.strategy ddp share the questions.",
        )
    if verb in EVALUATIONS:
        path = find_output(settings, "x")
        if path.is_dir():
            raise InputError(f"--output {path} is a folder.", "Name a file.")
        make_writable_folder(path.parent, "--output FILE")


def check_seed(seed: bool | int) -> None:
    """Checks `--seed_everything`.

    Raises:
        InputError: NumPy takes no such seed.
    """
    if not 0 <= int(seed) < 2**32:
        raise InputError(f"--seed_everything is {seed}.", "It must be between 0 and 4294967295.")


def _check_fit(settings: Any) -> None:
    trainer = settings.trainer
    if 0 in (trainer.max_epochs, trainer.max_steps):
        raise InputError("0 epochs or steps train nothing.", "Give --trainer.max_epochs or --trainer.max_steps.")
    check_model(settings)
    precision = str(find_precision(trainer.precision or "32-true", trainer.accelerator))
    check_trainer(Adaptation.read(settings.model.as_dict()), trainer.strategy == "sharded", precision)
    check_accumulation(settings.data.tokens_per_step, trainer.accumulate_grad_batches)
    if names := make_list(settings.logger):
        if trainer.logger is False:
            raise InputError("--trainer.logger false logs nothing, and --logger names where to.", "Give one of them.")
        check_trackers(names, register.list_names(trainer.logger))


def check_model(settings: Any) -> None:
    """Checks a base in a folder and what is trained of it, or the fields of a network; says so if it will not fit.

    Args:
        settings: Parsed, of `fit` or `prepare`.

    Raises:
        InputError: It cannot be trained so.
    """
    model = settings.model
    if model.from_scratch:
        check_from_scratch(dict(model.from_scratch))
    if model.base and not model.from_scratch:
        check_base(model.base, settings.data.tokenizer)
        added = settings.data.add_tokens or ()
        check_training(model.as_dict(), runs_on_cpu(settings.trainer.accelerator), added)


def _check_optimizer(settings: Any, options: Sequence[str]) -> None:
    if settings.optimizer is None:
        for name in _OPTIMIZER[1:]:
            if settings[name] not in (None, "epoch"):
                raise InputError(
                    f"--{name} needs --optimizer.", "For instance --optimizer torch.optim.AdamW --optimizer.lr 5e-4"
                )
        return
    if settings.lr_scheduler is None and settings.lr_scheduler_interval != "epoch":
        raise InputError("--lr_scheduler_interval needs --lr_scheduler.", "Without one the rate is constant.")
    for name in _OWN:
        if any(word == f"--{name}" or word.startswith(f"--{name}=") for word in options):
            raise InputError(
                f"--{name} has no effect on the optimizer that is named.",
                "Leave it out; the arguments of the class are --optimizer.NAME, for instance --optimizer.lr 0.1",
            )
    named = find_optimizer(settings)
    assert named is not None
    named.rehearse(on_gpu=not runs_on_cpu(settings.trainer.accelerator))
    if named.monitored and 0 in (settings.data.val_fraction, settings.trainer.limit_val_batches):
        raise InputError(f"{named.monitored} needs validations, and there are none.", "Give --data.val_fraction 0.05")


def check_replaceable(model: DialogueLM) -> None:
    """Checks that `--optimizer` takes the place of our own optimizer, not of one that a subclass makes.

    Raises:
        InputError: The subclass has its own `configure_optimizers`, or steps its optimizer itself.
    """
    kind = type(model)
    if unwrap(kind.configure_optimizers) is not DialogueLM.configure_optimizers:
        raise InputError(
            f"--optimizer would replace {kind.__name__}.configure_optimizers.",
            "Leave it out, or take a class that does not override that method.",
        )
    check_automatic(model)


def list_unused(settings: Any, find_default: Callable[[str], Any]) -> list[str]:
    """Returns the settings of our own optimizer that differ from their defaults, as a config file may give them.

    Args:
        settings: Of a fit with another optimizer.
        find_default: Returns the default of a setting, given its name.
    """
    return [f"{name} {value}" for name in _OWN if (value := settings.get(name)) not in (None, find_default(name))]


def check_same_optimizer(saved: dict[str, Any], settings: dict[str, Any]) -> None:
    """Checks that a fit goes on with the optimizer of its checkpoint, whose arguments are part of the saved state.

    Raises:
        InputError: The settings name another, or the same with other arguments.
    """
    for name in _OPTIMIZER:
        if name in saved and saved[name] != settings.get(name):
            raise InputError(
                f"--{name} is not that of the checkpoint, whose state would overrule it.",
                "Give the run's own settings: --config RUN/config.yaml; or begin a new run.",
            )


def check_launch(trainer: Any) -> None:
    """Checks a launcher's variables against the trainer's settings; says so where some are left over, and removes them.

    Args:
        trainer: Its settings, parsed. A plugin for another environment than Lightning finds has variables of its own.

    Raises:
        InputError: A launcher has started another number of processes.
    """
    if any("Environment" in str(plugin) for plugin in make_list(trainer.plugins)):
        return
    if stale := settle_rank(_count_devices(trainer.devices, trainer.accelerator), trainer.num_nodes):
        rank_zero_only.rank = 0  # type: ignore[attr-defined]  # Lightning has read them, and its loggers would be silent
        say(f"{' '.join(stale)} in the environment: not used, nothing else trains beside this process.")


def _count_devices(devices: Any, accelerator: str) -> int:
    """Returns the number of a node's devices; 1 for what the trainer will refuse."""
    if str(devices) in ("auto", "-1"):
        return 1 if runs_on_cpu(accelerator) else max(torch.accelerator.device_count(), 1)
    listed = devices if isinstance(devices, list) else [part for part in str(devices).split(",") if part.strip()]
    if isinstance(devices, list) or "," in str(devices):
        return max(len(listed), 1)
    return max(int(devices), 1) if str(devices).isdecimal() else 1
