"""The register of Lightning's options: it is complete, what it refuses is refused, and its page shows it."""

from __future__ import annotations

import ast
import inspect
import runpy
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.fabric.connector import _PRECISION_INPUT_STR
from lightning.pytorch import callbacks, loggers, plugins, profilers, strategies
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.strategies import StrategyRegistry

from lightning_med.training.register.checks import check_settings, check_trainer
from lightning_med.training.register.table import REGISTER, Kind
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.training.register.shown import SHOWN

_ABSTRACT = {  # base classes for code of the user's
    "callback": {"Callback", "Checkpoint"},
    "logger": {"Logger"},
    "strategy": {"Strategy", "ParallelStrategy"},
    "profiler": {"Profiler"},
    "plugin": {"CheckpointIO"},
}
ROOT = Path(__file__).parents[3]
REFUSED = [(kind, name) for kind, part in REGISTER.items() for name, one in part.items() if one.kind is Kind.REFUSED]


def list_options() -> dict[str, set[str]]:
    """Returns the options of the installed Lightning, by kind."""
    precisions = {str(name) for name in _PRECISION_INPUT_STR.__args__}
    return {
        "argument": set(inspect.signature(L.Trainer.__init__).parameters) - {"self"},
        "precision": precisions,
        "callback": set(callbacks.__all__),
        "logger": set(loggers.__all__),
        "strategy": {"auto", *StrategyRegistry.available_strategies(), *strategies.__all__},
        "profiler": {"simple", "advanced", "pytorch", "xla", *profilers.__all__},
        "plugin": set(plugins.__all__),
    }


def find_missing(options: dict[str, Iterable[str]]) -> list[str]:
    """Returns the options that the register lacks."""
    return sorted(
        f"{kind} {name}"
        for kind, names in options.items()
        for name in set(names) - _ABSTRACT.get(kind, set())
        if name not in REGISTER[kind] and not name.startswith("sharded")  # our own strategy
    )


def test_the_register_has_every_option_of_this_lightning() -> None:
    assert not find_missing(list_options())  # type: ignore[arg-type]
    counts = Counter(str(option.kind) for part in REGISTER.values() for option in part.values())
    assert set(counts) == set(Kind)
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))


def test_the_register_has_no_option_that_lightning_lacks() -> None:
    options = list_options()
    for kind, part in REGISTER.items():
        assert set(part) <= options[kind], kind


@pytest.mark.parametrize("kind", REGISTER)
def test_a_new_option_is_found(kind: str) -> None:
    options = {**list_options(), kind: list_options()[kind] | {"new_option"}}
    assert find_missing(options) == [f"{kind} new_option"]  # type: ignore[arg-type]


def test_every_honoured_option_is_shown_by_a_test() -> None:
    honoured = {name for part in REGISTER.values() for name, option in part.items() if option.kind is Kind.HONOURED}
    assert honoured == set(SHOWN)
    for name, (file, function) in SHOWN.items():
        tree = ast.parse((Path(__file__).parents[2] / file).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


@pytest.mark.parametrize(("kind", "name"), REFUSED)
def test_what_is_refused_is_refused_before_the_trainer_is_made(kind: str, name: str) -> None:
    modules: dict[str, Any] = {"callback": callbacks, "strategy": strategies, "plugin": plugins}
    section = {"callback": "callbacks", "plugin": "plugins"}.get(kind, kind)
    value: Any = [{"class_path": f"{modules[kind].__name__}.{name}"}] if section != kind else name
    settings = {"argument": {name: name != "enable_checkpointing"}}.get(kind, {section: value})
    with pytest.raises(InputError) as refused:
        check_settings(settings)
    assert name in refused.value.what
    assert refused.value.hint


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches is 0"),
        ({"check_val_every_n_epoch": 0}, "check_val_every_n_epoch is 0"),
        ({"log_every_n_steps": -1}, "log_every_n_steps is -1"),
        ({"val_check_interval": 0}, "val_check_interval is 0"),
        ({"val_check_interval": 0.0}, "val_check_interval is 0"),
        ({"val_check_interval": "00:00:10:00"}, "by the clock"),
        ({"val_check_interval": {"minutes": 10}}, "by the clock"),
        ({"limit_train_batches": 0}, "limit_train_batches 0"),
        ({"min_epochs": 3, "max_epochs": 2}, "min_epochs 3 is above"),
        ({"min_steps": 30, "max_steps": 20}, "min_steps 30 is above"),
        ({"logger": {"class_path": "lightning.pytorch.loggers.CometLogger"}}, "needs the package comet_ml"),
        ({"strategy": "deepspeed_stage_2"}, "needs the package deepspeed"),
        ({"profiler": "xla"}, "needs the package torch_xla"),
    ],
)
def test_values_that_no_fit_can_have_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        check_settings(settings)


def test_callbacks_of_a_fit_do_not_count_for_an_evaluation() -> None:
    settings = {"callbacks": [{"class_path": "lightning.pytorch.callbacks.ModelPruning"}], "limit_train_batches": 0}
    check_settings(settings, fits=False)
    with pytest.raises(InputError):
        check_settings(settings)


class OwnAveraging(callbacks.StochasticWeightAveraging):
    """A subclass, as a user may write it."""


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"callbacks": [OwnAveraging(1e-3)]}, "StochasticWeightAveraging"),
        ({"accumulate_grad_batches": 2, "callbacks": [GradientAccumulationScheduler({0: 4})]}, "both say"),
        ({"val_check_interval": "00:00:10:00"}, "by the clock"),
        ({"check_val_every_n_epoch": 0}, "check_val_every_n_epoch is 0"),
        ({"limit_train_batches": 0}, "limit_train_batches 0"),
    ],
)
def test_a_trainer_of_the_users_is_checked_before_the_data_are_prepared(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    trainer = tiny.trainer(tmp_path, **changes)
    with pytest.raises(InputError, match=what):
        check_trainer(trainer)
    with pytest.raises(InputError, match=what):
        trainer.fit(tiny.language_model(), tiny.data_module(tmp_path))
    assert not (tmp_path / "cache").exists()


def test_the_page_shows_the_register() -> None:
    make_page = runpy.run_path(str(ROOT / "scripts" / "list_trainer_options.py"))["make_page"]
    assert (ROOT / "docs" / "trainer_options.md").read_text(encoding="utf-8") == make_page()
