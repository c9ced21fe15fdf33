"""What options of the trainer do that change no weight: ends, validations, logs, limits of evaluations, files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import (
    DeviceStatsMonitor,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    RichModelSummary,
    Timer,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins import TorchSyncBatchNorm
from lightning.pytorch.profilers import PassThroughProfiler, SimpleProfiler

from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.fit_loop.fit_end import EARLY, find_end, is_out_of_time
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.training.helpers import evaluate, fit

BATCHES = 8  # of an epoch of the table


class Validations(L.Callback):
    """Records the step at each validation, and whether it came between two steps."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        assert batches % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
        self.steps.append(trainer.global_step)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, [8, 16]),
        ({"val_check_interval": 3}, [3, 6, 11, 14]),
        ({"val_check_interval": 0.25}, [2, 4, 6, 8, 10, 12, 14, 16]),
        ({"val_check_interval": 3, "accumulate_grad_batches": 2}, [2, 3, 6, 7]),  # batches 3 and 6: steps 2 and 3
        ({"val_check_interval": 5, "accumulate_grad_batches": 3}, [2, 5]),
        ({"val_check_interval": 8, "accumulate_grad_batches": 3}, [3, 6]),
        ({"check_val_every_n_epoch": 2}, [16]),
        ({"check_val_every_n_epoch": None, "val_check_interval": 5}, [5, 10, 15]),
        ({"check_val_every_n_epoch": None, "val_check_interval": 12}, [12]),
        ({"check_val_every_n_epoch": None, "val_check_interval": 5, "accumulate_grad_batches": 3}, [2, 4, 6]),
        ({"limit_val_batches": 0}, []),
    ],
)
def test_validations_come_at_the_end_of_the_step_in_which_they_are_due(
    folder: Path, tmp_path: Path, options: dict[str, Any], steps: list[int]
) -> None:
    assert len(tiny.data_module(folder).plan_epoch(0)) == len(tiny.data_module(folder).plan_epoch(1)) == BATCHES
    seen = Validations()
    fit(folder, tmp_path, max_epochs=2, callbacks=[seen], **options)
    assert seen.steps == steps


def test_an_interval_that_is_longer_than_the_first_epoch_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="val_check_interval 9 is more than the 8 batches"):
        fit(folder, tmp_path, val_check_interval=9)


def test_an_interval_that_is_longer_than_a_later_epoch_ends_with_it(folder: Path, tmp_path: Path) -> None:
    data = tiny.data_module(folder, batch_tokens=300)
    counts = [len(data.plan_epoch(epoch)) for epoch in range(12)]
    shorter = next(epoch for epoch, count in enumerate(counts) if count < counts[0])
    seen = Validations()
    options = {"val_check_interval": counts[0], "max_epochs": shorter + 1}
    fit(folder, tmp_path, {"batch_tokens": 300}, callbacks=[seen], **options)
    assert seen.steps[-1] == sum(counts[: shorter + 1])


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_a_fit_in_bfloat16_is_near_one_in_float32(folder: Path, tmp_path: Path, precision: Any) -> None:
    exact, _ = fit(folder, tmp_path, max_steps=8)
    rounded, _ = fit(folder, tmp_path, max_steps=8, precision=precision)
    weights = tiny.weights(rounded.network)
    assert {value.dtype for value in weights.values()} == {torch.bfloat16 if "true" in precision else torch.float32}
    ours = {name: value.float() for name, value in weights.items()}
    assert tiny.relative_l2(ours, tiny.weights(exact.network)) < 0.02
    assert rounded.results["val/loss"] == pytest.approx(exact.results["val/loss"], rel=0.01)


@pytest.mark.parametrize(("options", "steps"), [({}, 16), ({"min_epochs": 3}, 24), ({"min_steps": 30}, 30)])
def test_the_least_epochs_and_steps_delay_an_early_stop(
    folder: Path, tmp_path: Path, options: dict[str, Any], steps: int
) -> None:
    stopping = EarlyStopping("val/loss", min_delta=1e6, patience=1)
    module, _ = fit(folder, tmp_path, max_epochs=6, callbacks=[stopping, Checkpoints()], **options)
    trainer: Any = module.trainer
    assert trainer.global_step == steps
    assert find_end(trainer) == EARLY
    content = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["lightning_med"]["finished"] == EARLY
    assert content["callbacks"][stopping.state_key]["wait_count"] == stopping.wait_count


@pytest.mark.parametrize("judged", [None, True, False])
@pytest.mark.parametrize("monitor", ["val/perplexity", "train/loss"])
def test_a_fit_that_ends_before_anything_is_monitored_ends_as_asked(
    folder: Path, tmp_path: Path, monitor: str, judged: bool | None
) -> None:
    stopping = EarlyStopping(monitor, check_on_train_epoch_end=judged)
    module, _ = fit(folder, tmp_path, max_steps=2, log_every_n_steps=5, callbacks=[stopping])
    assert module.trainer.global_step == 2


@pytest.mark.parametrize("window", [1, 3])
def test_a_run_out_of_time_ends_with_a_whole_step_and_goes_on(folder: Path, tmp_path: Path, window: int) -> None:
    class OutOfTime(Timer):
        """Its time is over in the fourth batch."""

        def __init__(self) -> None:
            super().__init__("00:01:00:00")
            self.batches = 0

        def time_elapsed(self, stage: str = "train") -> float:
            return 60.0 * self.batches

        def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
            self.batches += 20
            super().on_train_batch_end(*args, **kwargs)

    options: dict[str, Any] = {"max_epochs": 2, "accumulate_grad_batches": window}
    whole, _ = fit(folder, tmp_path / "whole", callbacks=[Checkpoints()], **options)
    cut, _ = fit(folder, tmp_path / "cut", callbacks=[OutOfTime(), Checkpoints()], **options)
    assert 0 < cut.trainer.global_step < whole.trainer.global_step
    assert is_out_of_time(cut.trainer)
    assert not find_end(cut.trainer)
    last = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    assert content["global_step"] == cut.trainer.global_step == 3 // window
    assert not content["lightning_med"]["finished"]
    for _ in range(12):  # commands, each of which has its time anew
        if find_end(cut.trainer):
            break
        cut, _ = fit(folder, tmp_path / "cut", callbacks=[OutOfTime(), Checkpoints()], ckpt_path=last, **options)
    assert find_end(cut.trainer) == "epochs"
    assert tiny.is_equal(tiny.weights(cut.network), tiny.weights(whole.network))


def test_limits_bound_an_evaluation(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    whole = evaluate(folder, tmp_path, checkpoint)
    for verb, name in (("test", "test"), ("validate", "val")):
        model = tiny.language_model()
        trainer = tiny.trainer(tmp_path, limit_test_batches=1, limit_val_batches=1)
        data = tiny.data_module(folder, batch_tokens=128)
        getattr(trainer, verb)(model, data, ckpt_path=checkpoint, verbose=False, weights_only=True)
        assert 0 < model.results[f"{name}/tokens"] < whole["test/tokens"]
    model, trainer = tiny.language_model(), tiny.trainer(tmp_path, limit_predict_batches=0)
    assert not trainer.predict(model, tiny.data_module(folder), ckpt_path=checkpoint, weights_only=True)


@pytest.mark.parametrize(("every", "steps"), [(3, [2, 5]), (1, list(range(8))), (0, []), (100, [])])
def test_steps_are_logged_as_often_as_asked_for(folder: Path, tmp_path: Path, every: int, steps: list[int]) -> None:
    loggers = [CSVLogger(tmp_path, name="a"), TensorBoardLogger(tmp_path, name="b")]
    fit(folder, tmp_path, logger=loggers, log_every_n_steps=every)
    with (tmp_path / "a" / "version_0" / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("train/loss")]
    assert [int(row["step"]) for row in rows] == steps
    assert list((tmp_path / "b" / "version_0").glob("events.*"))


def test_a_fit_resumes_from_a_file_of_lightnings_checkpoint_callback(folder: Path, tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path / "theirs", monitor="val/perplexity", filename="{step}", save_top_k=-1)
    whole, _ = fit(folder, tmp_path, max_epochs=2, callbacks=[saving])
    first = min((tmp_path / "theirs").glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    resumed, _ = fit(folder, tmp_path, max_epochs=2, ckpt_path=first)
    assert tiny.relative_l2(tiny.weights(resumed), tiny.weights(whole)) < 1e-6


INDIFFERENT = {
    "num_sanity_val_steps": {"num_sanity_val_steps": 2},
    "enable_model_summary": {"enable_model_summary": True},
    "deterministic": {"deterministic": True},
    "benchmark": {"benchmark": True},
    "inference_mode": {"inference_mode": False},
    "use_distributed_sampler": {"use_distributed_sampler": False},
    "profiler": {"profiler": SimpleProfiler()},
    "simple": {"profiler": "simple"},
    "advanced": {"profiler": "advanced"},
    "pass through": {"profiler": PassThroughProfiler()},
    "detect_anomaly": {"detect_anomaly": True},
    "sync_batchnorm": {"sync_batchnorm": True},
    "layer sync": {"plugins": [TorchSyncBatchNorm()]},
    "reload_dataloaders_every_n_epochs": {"reload_dataloaders_every_n_epochs": 3},
    "enable_autolog_hparams": {"enable_autolog_hparams": False},
    "log_every_n_steps": {"log_every_n_steps": 0},
    "summaries": {"callbacks": [ModelSummary(), RichModelSummary()]},
    "EarlyStopping": {"callbacks": [EarlyStopping("train/loss", patience=100)]},
    "val_check_interval": {"val_check_interval": 2},
    "limit_val_batches": {"limit_val_batches": 1},
}


@pytest.fixture(scope="module")
def plain(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return fit(folder, tmp_path_factory.mktemp("plain"), max_steps=10, max_epochs=2)


@pytest.mark.parametrize("name", INDIFFERENT)
def test_weights_and_order_do_not_depend_on(plain: Any, folder: Path, tmp_path: Path, name: str) -> None:
    module, steps = fit(folder, tmp_path, max_steps=10, max_epochs=2, **INDIFFERENT[name])
    assert steps.rows == plain[1].rows
    assert tiny.is_equal(tiny.weights(module), tiny.weights(plain[0]))


def test_weights_do_not_depend_on_what_monitors_the_machine(plain: Any, folder: Path, tmp_path: Path) -> None:
    monitors = [LearningRateMonitor("step"), DeviceStatsMonitor(cpu_stats=True)]
    module, _ = fit(folder, tmp_path, max_steps=10, max_epochs=2, callbacks=monitors, logger=CSVLogger(tmp_path))
    assert tiny.is_equal(tiny.weights(module), tiny.weights(plain[0]))
