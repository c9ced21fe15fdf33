"""Patches of Lightning are reverted, work for several fits on one trainer, and use names that exist."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.save_on_signal import SaveOnSignal
from lightning_med.training.lightning_patches import PRIVATE_NAMES, call_between_batches, stop_between_batches
from tests import tiny


@pytest.mark.parametrize(("owner", "names"), PRIVATE_NAMES.items())
def test_lightning_has_the_private_names_that_the_patches_use(owner: type, names: tuple[str, ...]) -> None:
    missing = [name for name in names if not hasattr(owner, name)]
    assert not missing, (
        f"lightning {L.__version__}: {owner.__name__} has no {', '.join(missing)}; see lightning_patches"
    )


def test_lightning_has_the_private_attributes_of_instances(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path)
    version = f"lightning {L.__version__}"
    assert hasattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped"), version
    assert hasattr(trainer, "_accelerator_connector"), version
    assert hasattr(trainer, "_signal_connector"), version
    assert hasattr(tiny.language_model(), "_trainer"), version


class RecordingCheckpoints(Checkpoints):
    """Records the steps of the calls between two batches and of the saves."""

    def __init__(self) -> None:
        super().__init__(every_n_train_steps=1, keep=50)
        self.calls: list[int] = []
        self.saves: list[int] = []

    def _save_if_due(self, trainer: L.Trainer) -> None:
        self.calls.append(trainer.global_step)
        super()._save_if_due(trainer)

    def save(self, trainer: L.Trainer) -> Path:
        self.saves.append(trainer.global_step)
        return super().save(trainer)


def test_two_fits_on_one_trainer_call_each_action_once_a_batch(tmp_path: Path) -> None:
    callback = RecordingCheckpoints()
    trainer = tiny.trainer(tmp_path, callbacks=[callback, SaveOnSignal()], max_steps=2)
    model, data = tiny.language_model(), tiny.data_module(tmp_path)
    trainer.fit(model, data)
    assert callback.calls == callback.saves == [1, 2]
    trainer.fit_loop.epoch_loop.max_steps, trainer.fit_loop.max_epochs = 5, 3
    trainer.fit(model, data)
    assert callback.calls == callback.saves == [1, 2, 3, 4, 5]


def test_the_patched_method_is_restored_after_a_fit(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path, callbacks=[RecordingCheckpoints(), SaveOnSignal()], max_steps=1)
    trainer.fit(tiny.language_model(), tiny.data_module(tmp_path))
    loop = trainer.fit_loop.epoch_loop
    assert "on_advance_end" not in vars(loop)
    assert loop.on_advance_end.__func__ is _TrainingEpochLoop.on_advance_end


def test_the_patched_method_is_restored_after_a_failed_fit(tmp_path: Path) -> None:
    class Fail(L.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            raise RuntimeError("stop here")

    trainer = tiny.trainer(tmp_path, callbacks=[RecordingCheckpoints(), SaveOnSignal(), Fail()], max_steps=3)
    with pytest.raises(RuntimeError, match="stop here"):
        trainer.fit(tiny.language_model(), tiny.data_module(tmp_path))
    assert "on_advance_end" not in vars(trainer.fit_loop.epoch_loop)


def test_the_method_is_restored_with_the_last_action(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path)
    actions: list[Callable[[], None]] = [lambda: None, lambda: None]
    for action in actions:
        call_between_batches(trainer, action)
    stop_between_batches(trainer, actions[0])
    assert "on_advance_end" in vars(trainer.fit_loop.epoch_loop)
    stop_between_batches(trainer, actions[0])  # removing it twice is harmless
    stop_between_batches(trainer, actions[1])
    assert "on_advance_end" not in vars(trainer.fit_loop.epoch_loop)
