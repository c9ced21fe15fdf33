"""Checks of a trainer's options against the register, before any work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, WeightAveraging
from lightning.pytorch.plugins import AsyncCheckpointIO

from lightning_med.training.patches.loop import find_validation_time
from lightning_med.training.register.table import REGISTER, Kind
from lightning_med.utils.console import say
from lightning_med.utils.errors import InputError

_SECTIONS = {  # where the settings name classes, and how the register calls them
    "callbacks": "callback",
    "logger": "logger",
    "strategy": "strategy",
    "profiler": "profiler",
    "plugins": "plugin",
    "precision": "precision",
}
_LEAST = {"accumulate_grad_batches": 1, "check_val_every_n_epoch": 1, "log_every_n_steps": 0}
_OF_FITS = ("callbacks", "precision")  # sections that an evaluation does not use, or may take as it likes
_LIMITED = "Lightning counts a float as a share and a whole number as batches."


def check_settings(trainer: Mapping[str, Any], fits: bool = True) -> None:
    """Checks the settings of a trainer that has not been made yet.

    Args:
        trainer: By name, as parsed: classes are mappings with a `class_path`.
        fits: Whether it trains.

    Raises:
        InputError: One of them is refused, or needs a package that is not installed.
    """
    for section, kind in _SECTIONS.items():
        if not fits and section in _OF_FITS:
            continue
        for name in list_names(trainer.get(section)):
            _check_option(kind, name)
    if trainer.get("num_nodes") not in (None, 1):
        _check_option("argument", "num_nodes")
    if fits:
        for name, harmless in (("enable_checkpointing", (None, True)), ("barebones", (None, False))):
            if trainer.get(name) not in harmless:
                _refuse(f"--trainer.{name} {str(trainer[name]).lower()}", REGISTER["argument"][name].note)
        if trainer.get("model_registry"):
            _refuse("--trainer.model_registry", REGISTER["argument"]["model_registry"].note)
        ends = (trainer.get("max_steps") or -1) > 0 or trainer.get("max_time")
        if trainer.get("max_epochs", 1) is None and not ends:  # Lightning would take 1,000
            raise InputError("--trainer.max_epochs is null, and nothing ends the fit.", "Give one, or -1 for no end.")
        _check_values(trainer)


def check_trainer(trainer: Trainer, adapts: bool = False) -> None:
    """Checks a trainer that is about to train, as a program of the user's may have made it.

    Args:
        trainer: With its callbacks.
        adapts: Whether an adapter is trained.

    Raises:
        InputError: One of its options is refused, or two do not go together.
    """
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    for kind, objects in (
        ("callback", callbacks),
        ("strategy", [trainer.strategy]),
        ("logger", trainer.loggers),
        ("profiler", [trainer.profiler]),  # type: ignore[attr-defined]
    ):
        for one in objects:
            if type(one).__module__.startswith("lightning_med"):
                continue
            known = [base.__name__ for base in type(one).__mro__ if base.__name__ in REGISTER[kind]]
            for name in known[:1]:  # a subclass is what its nearest known class is
                _check_option(kind, name)
    _check_option("precision", str(trainer.precision))
    if isinstance(trainer.strategy.checkpoint_io, AsyncCheckpointIO):
        _check_option("plugin", "AsyncCheckpointIO")
    if trainer.barebones:
        _refuse("barebones", REGISTER["argument"]["barebones"].note)
    if adapts and any(isinstance(one, WeightAveraging) for one in callbacks):
        raise InputError(
            "A callback that averages weights keeps all of them; checkpoints of a LoRA run hold the adapter alone.",
            "Leave it out, or train all weights.",
        )
    if any(isinstance(one, GradientAccumulationScheduler) for one in callbacks) and trainer.accumulate_grad_batches > 1:
        raise InputError(
            "GradientAccumulationScheduler and accumulate_grad_batches both say how long an optimizer step is.",
            "Give one of them.",
        )
    names = (*_LEAST, "limit_train_batches", "max_epochs", "min_epochs", "max_steps", "min_steps")
    values = {name: getattr(trainer, name) for name in names}
    time = find_validation_time(trainer)
    _check_values({**values, "val_check_interval": trainer.val_check_interval if time is None else timedelta(time)})


def _check_option(kind: str, name: str) -> None:
    option = REGISTER[kind].get(name)
    if option is None:
        return  # one of the user's own
    if option.kind is Kind.REFUSED:
        _refuse(name, option.note)
    if option.package and find_spec(option.package) is None:
        raise InputError(f"{name} needs the package {option.package}.", f"pip install {option.package}")
    if option.kind is Kind.NOT_RUN:
        say(f"{name}: nobody has run it with this package yet ({option.note}).")


def _refuse(what: str, hint: str) -> None:
    raise InputError(f"{what} is not supported.", hint)


def _check_values(trainer: Mapping[str, Any]) -> None:
    for name, least in _LEAST.items():
        value = trainer.get(name)
        if isinstance(value, int) and value < least:
            raise InputError(f"--trainer.{name} is {value}.", f"It must be at least {least}.")
    interval = trainer.get("val_check_interval")
    if isinstance(interval, (str, timedelta, Mapping)):
        raise InputError(
            "--trainer.val_check_interval by the clock: the steps before a validation would differ from run to run.",
            "Give batches, for instance 500, or a share of an epoch, for instance 0.25.",
        )
    if interval == 0:
        raise InputError("--trainer.val_check_interval is 0.", "For no validation: --trainer.limit_val_batches 0")
    if trainer.get("limit_train_batches") == 0:
        raise InputError("--trainer.limit_train_batches 0 trains nothing.", f"Leave it out. {_LIMITED}")
    for unit in ("epochs", "steps"):
        lower, most = trainer.get(f"min_{unit}"), trainer.get(f"max_{unit}")
        if lower and most is not None and 0 < most < lower:
            raise InputError(
                f"--trainer.min_{unit} {lower} is above max_{unit} {most}.", "min is the least before an early stop."
            )


def list_names(setting: Any) -> Iterator[str]:
    """Yields the names of the classes in a setting: those of its class paths, or a name by itself."""
    if isinstance(setting, str):
        yield setting.rpartition(".")[2]
    elif hasattr(setting, "get") and setting.get("class_path"):
        yield str(setting["class_path"]).rpartition(".")[2]
    elif isinstance(setting, Iterable) and not isinstance(setting, Mapping):
        for one in setting:
            yield from list_names(one)
    elif setting is not None and not isinstance(setting, (bool, int, float, Mapping)):
        yield type(setting).__name__  # an object that the parser has made
