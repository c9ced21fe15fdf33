"""What ends a fit, what its checkpoints say of it, and what a second fit takes over from the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.fit_loop.fit_end import EARLY
from lightning_med.training.module import DialogueLM
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.training.helpers import fit

NEVER_BETTER = {"min_delta": 1e6, "patience": 1}


def read_ends(folder: Path) -> dict[int, str]:
    """Returns why each checkpoint's fit is finished, by step."""
    contents = [torch.load(path, weights_only=True) for path in folder.glob("checkpoints/step-*.ckpt")]
    return {content["global_step"]: content["lightning_med"]["finished"] for content in contents}


@pytest.mark.parametrize("least", [{"min_steps": 11}, {"min_epochs": 2}])
def test_an_early_stop_that_must_wait_is_not_the_end(folder: Path, tmp_path: Path, least: dict[str, Any]) -> None:
    """Early stopping asks for the end at step 4; a run that is resumed later ends where it would have ended."""
    options: dict[str, Any] = {"max_epochs": 5, "val_check_interval": 2, **least}
    stopping = EarlyStopping("val/perplexity", **NEVER_BETTER)
    every = Checkpoints(every_n_train_steps=1, keep=99)
    whole, _ = fit(folder, tmp_path / "whole", callbacks=[stopping, every], **options)
    last = whole.trainer.global_step
    assert last == {"min_steps": 11, "min_epochs": 16}[next(iter(least))]
    ends = read_ends(tmp_path / "whole")
    assert {step for step, end in ends.items() if end} == {last}
    assert ends[last] == EARLY
    for step in (5, 8, 10):
        checkpoint = tmp_path / "whole" / "checkpoints" / f"step-{step}.ckpt"
        callbacks = [EarlyStopping("val/perplexity", **NEVER_BETTER), Checkpoints()]
        resumed, _ = fit(folder, tmp_path / f"from-{step}", callbacks=callbacks, ckpt_path=checkpoint, **options)
        assert resumed.trainer.global_step == last
        assert tiny.is_equal(tiny.weights(resumed), tiny.weights(whole))


@pytest.mark.parametrize(
    "arguments",
    [
        {"monitor": "train/loss"},
        {"monitor": "val/perplexity"},
        {"monitor": "val/perplexity", "check_on_train_epoch_end": True},
        {"monitor": "train/loss", "check_on_train_epoch_end": False},
    ],
)
def test_an_early_stop_at_an_epochs_end_is_saved_with_its_step(
    folder: Path, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    stopping = EarlyStopping(**arguments, **NEVER_BETTER)
    module, _ = fit(folder, tmp_path, max_epochs=5, callbacks=[stopping, Checkpoints()])
    assert module.trainer.global_step == 16
    assert stopping.wait_count == 1
    assert read_ends(tmp_path)[16] == EARLY
    again = EarlyStopping(**arguments, **NEVER_BETTER)
    last = tmp_path / "checkpoints" / "last.ckpt"
    resumed, _ = fit(folder, tmp_path / "again", max_epochs=5, callbacks=[again, Checkpoints()], ckpt_path=last)
    assert resumed.trainer.global_step > 16  # from Python it trains on; the command says that it is finished
    assert again.wait_count == 2


def test_early_stopping_that_judged_nothing_says_so(folder: Path, tmp_path: Path, capsys: Any) -> None:
    fit(folder, tmp_path, check_val_every_n_epoch=5, callbacks=[EarlyStopping("val/loss")])
    assert "nothing to judge: val/loss" in capsys.readouterr().out
    with pytest.raises(InputError, match="log_every_n_steps is 0"):
        fit(folder, tmp_path, log_every_n_steps=0, callbacks=[EarlyStopping("train/loss")])


def test_files_of_lightnings_checkpoint_callback_are_left_alone(folder: Path, tmp_path: Path) -> None:
    theirs = [
        ModelCheckpoint(filename="best-{epoch}", save_top_k=-1, monitor="val/loss"),
        ModelCheckpoint(filename="step-{step}", auto_insert_metric_name=False, save_top_k=-1, every_n_train_steps=2),
    ]
    fit(folder, tmp_path, max_epochs=3, callbacks=[*theirs, Checkpoints()])
    names = {path.name for path in (tmp_path / "model_checkpoints").glob("*.ckpt")}
    assert names == {
        *(f"best-epoch={epoch}.ckpt" for epoch in range(3)),
        *(f"step-{step}.ckpt" for step in range(2, 25, 2)),
    }


def test_a_second_fit_of_a_trainer_has_its_own_schedule(folder: Path, tmp_path: Path) -> None:
    class Rates(L.Callback):
        def __init__(self) -> None:
            self.values: list[float] = []

        def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
            self.values.append(optimizer.param_groups[0]["lr"])

    rates = Rates()
    trainer, module = tiny.trainer(tmp_path, callbacks=[rates]), tiny.language_model()
    trainer.fit(module, tiny.data_module(folder))
    first, rates.values = rates.values, []
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, tiny.data_module(folder))
    assert len(rates.values) == 8
    assert rates.values == pytest.approx(first)


def test_callbacks_and_a_module_serve_a_second_fit(folder: Path, tmp_path: Path) -> None:
    every, module = Checkpoints(), tiny.language_model()
    for place in ("first", "second"):
        every.use_folder(tmp_path / place / "checkpoints")
        trainer = tiny.trainer(tmp_path / place, callbacks=[every], max_steps=8)
        trainer.fit(module, tiny.data_module(folder))
    assert (tmp_path / "second" / "checkpoints" / "last.ckpt").is_file()
    assert list((tmp_path / "second" / "checkpoints").glob("best-*.ckpt"))


def test_a_fresh_fit_does_not_judge_by_metrics_of_a_resumed_one(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    module: DialogueLM = tiny.language_model()
    tiny.trainer(tmp_path, max_epochs=2).fit(module, tiny.data_module(folder), ckpt_path=checkpoint)
    assert module.monitored
    stopping = EarlyStopping("val/loss", stopping_threshold=1e6, check_on_train_epoch_end=True)
    trainer = tiny.trainer(tmp_path, max_epochs=1, check_val_every_n_epoch=2, callbacks=[stopping])
    trainer.fit(module, tiny.data_module(folder))
    assert not module.monitored
    assert stopping.stopping_reason_message is None


def test_a_sanity_check_is_no_result(folder: Path, tmp_path: Path) -> None:
    module, _ = fit(folder, tmp_path, max_steps=3, num_sanity_val_steps=1)
    assert module.results == {}


def test_a_fit_that_fails_gives_the_trainer_its_interval_back(folder: Path, tmp_path: Path) -> None:
    class Fail(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
            if trainer.current_epoch == 11:
                raise RuntimeError("as asked")

    trainer = tiny.trainer(tmp_path, max_epochs=20, val_check_interval=14, limit_val_batches=1, callbacks=[Fail()])
    with pytest.raises(RuntimeError, match="as asked"):
        trainer.fit(tiny.language_model(), tiny.data_module(folder, batch_tokens=300))  # epoch 11 has 13 batches
    assert trainer.val_check_interval == 14
