"""Patches of Lightning are reverted, work for several fits on one trainer, and use names that exist."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.save_on_signal import SaveOnSignal
from lightning_med.training.module import DialogueLM
from lightning_med.training.patches import command, loop
from lightning_med.training.patches.loop import call_between_batches, stop_between_batches
from tests import tiny


@pytest.mark.parametrize(("owner", "names"), {**command.PRIVATE_NAMES, **loop.PRIVATE_NAMES}.items())
def test_lightning_has_the_private_names_that_the_patches_use(owner: type, names: tuple[str, ...]) -> None:
    missing = [name for name in names if not hasattr(owner, name)]
    assert not missing, f"lightning {L.__version__}: {owner.__name__} has no {', '.join(missing)}; see training/patches"


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
    actions: list[Callable[[L.Trainer], None]] = [lambda trainer: None, lambda trainer: None]
    for action in actions:
        call_between_batches(trainer, action)
    stop_between_batches(trainer, actions[0])
    assert "on_advance_end" in vars(trainer.fit_loop.epoch_loop)
    stop_between_batches(trainer, actions[0])  # removing it twice is harmless
    stop_between_batches(trainer, actions[1])
    assert "on_advance_end" not in vars(trainer.fit_loop.epoch_loop)


def test_the_signal_handlers_are_restored_after_a_fit_that_failed(tmp_path: Path) -> None:
    """In a process of its own: Lightning restores the handlers that it recorded itself, and after the callbacks."""
    code = (
        "import signal, sys\n"
        "from pathlib import Path\n"
        "import lightning as L\n"
        "from lightning_med.training.callbacks.save_on_signal import SaveOnSignal\n"
        "from tests import tiny\n"
        "class Fail(L.Callback):\n"
        "    def on_train_batch_end(self, *args):\n"
        "        raise RuntimeError('stop here')\n"
        "numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)\n"
        "before = [signal.getsignal(number) for number in numbers]\n"
        "folder = Path(sys.argv[1])\n"
        "trainer = tiny.trainer(folder, callbacks=[SaveOnSignal(), Fail()], max_steps=2)\n"
        "try:\n"
        "    trainer.fit(tiny.language_model(), tiny.data_module(folder))\n"
        "except RuntimeError:\n"
        "    print([signal.getsignal(number) for number in numbers] == before)\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1:] == ["True"], done.stderr[-2000:]


def test_a_module_can_be_pickled(tmp_path: Path) -> None:
    """Strategies that start processes by `spawn` send it to them."""
    module = pickle.loads(pickle.dumps(tiny.language_model()))
    trainer = tiny.trainer(tmp_path, max_steps=1)
    trainer.fit(module, tiny.data_module(tmp_path))
    assert trainer.global_step == 1


def test_a_loaded_module_is_evaluated_with_a_loader_alone(tmp_path: Path) -> None:
    """Without a data module of ours."""
    data, callback = tiny.data_module(tmp_path), Checkpoints()
    trainer = tiny.trainer(tmp_path, callbacks=[callback], max_steps=2)
    trainer.fit(tiny.language_model(), data)
    loaded = DialogueLM.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    (results,) = tiny.trainer(tmp_path).validate(loaded, dataloaders=data.val_dataloader(), verbose=False)
    (expected,) = tiny.trainer(tmp_path).validate(loaded, data, verbose=False)
    assert results["val/perplexity"] == pytest.approx(expected["val/perplexity"])
