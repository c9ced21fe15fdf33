"""A resumed fit takes the same steps as an uninterrupted one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.module import DialogueLM
from tests.training.helpers import Steps, fit


@pytest.fixture(scope="module", params=[1, 2], ids=["each batch", "two batches a step"])
def uninterrupted(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path, DialogueLM, Steps]:
    """An uninterrupted fit of two epochs with a checkpoint after each step, each epoch and each validation."""
    place = tmp_path_factory.mktemp("uninterrupted")
    settings = {"max_epochs": 2, "accumulate_grad_batches": request.param, "val_check_interval": 4}
    every = [
        ModelCheckpoint(place, "step-{step}", save_top_k=-1, every_n_train_steps=1, auto_insert_metric_name=False),
        ModelCheckpoint(place, "epoch-{step}", save_top_k=-1, save_on_train_epoch_end=True, every_n_epochs=1),
        Checkpoints(),
    ]
    every[1].CHECKPOINT_NAME_LAST = "epoch-last"
    model, steps = fit(folder, place, callbacks=every, **settings)
    return settings, place, model, steps


def resume(
    uninterrupted: Any, folder: Path, tmp_path: Path, checkpoint: Path, **changes: Any
) -> tuple[DialogueLM, Steps]:
    return fit(folder, tmp_path, ckpt_path=checkpoint, **{**uninterrupted[0], **changes})


PLACES = ["first step", "mid-epoch", "before the epoch's end", "last batch", "epoch's end", "second epoch"]


@pytest.mark.parametrize("where", PLACES)
def test_a_resumed_fit_takes_the_steps_of_an_uninterrupted_one(
    uninterrupted: Any, folder: Path, tmp_path: Path, where: str
) -> None:
    _, place, model, steps = uninterrupted
    total = len(steps.rows)
    epoch = total // 2
    names = {"first step": 1, "mid-epoch": epoch // 2, "before the epoch's end": epoch - 1, "last batch": epoch}
    names["second epoch"] = epoch + 2
    if where == "epoch's end":
        checkpoint = next(place.glob(f"epoch-*{epoch}.ckpt"))
    else:
        checkpoint = place / f"step-{names[where]}.ckpt"
    done = names.get(where, epoch)
    module, resumed_steps = resume(uninterrupted, folder, tmp_path, checkpoint)
    assert resumed_steps.rows == steps.rows[done:]
    assert resumed_steps.rates == steps.rates[done:]
    assert module.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), model.parameters(), strict=True))


def test_a_fit_resumes_from_the_best_checkpoint(uninterrupted: Any, folder: Path, tmp_path: Path) -> None:
    """That one is written by a validation, in the middle of an epoch or at its end."""
    _, place, model, steps = uninterrupted
    best = next(place.rglob("best*.ckpt"))
    done = torch.load(best, weights_only=True)["global_step"]
    module, resumed_steps = resume(uninterrupted, folder, tmp_path, best)
    assert resumed_steps.rows == steps.rows[done:]
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), model.parameters(), strict=True))


def test_a_resumed_fit_uses_the_learning_rate_of_its_own_settings(
    uninterrupted: Any, folder: Path, tmp_path: Path
) -> None:
    _, place, _, steps = uninterrupted
    _, resumed_steps = resume(uninterrupted, folder, tmp_path, place / "step-3.ckpt", model={"lr": 6e-3})
    assert resumed_steps.rates == pytest.approx([2 * rate for rate in steps.rates[3:]])


@pytest.mark.parametrize("where", ["mid-epoch", "epoch's end"])
def test_a_fit_that_reached_max_steps_resumes_there(
    uninterrupted: Any, folder: Path, tmp_path: Path, where: str
) -> None:
    settings, _, _, steps = uninterrupted
    last_step = 3 if where == "mid-epoch" else len(steps.rows) // 2
    fit(folder, tmp_path, callbacks=[Checkpoints(every_n_train_steps=2)], **{**settings, "max_steps": last_step})
    last = next(tmp_path.rglob("last.ckpt"))
    assert torch.load(last, weights_only=True)["global_step"] == last_step
    _, resumed_steps = resume(uninterrupted, folder, tmp_path / "more", last)
    assert resumed_steps.rows == steps.rows[last_step:]
