"""Checkpoint files: which are kept, and what a failed write leaves."""

from __future__ import annotations

import errno
import json
import os
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch

from lightning_med.checkpoints import digests, writing
from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.utils.errors import RunError
from tests.training.callbacks.helpers import fit


def test_last_links_to_the_last_step(folder: Path, tmp_path: Path) -> None:
    fit(folder, tmp_path, [Checkpoints(every_n_train_steps=2)], max_steps=5)
    place = tmp_path / "checkpoints"
    assert (place / "last.ckpt").readlink() == Path("step-5.ckpt")
    content = torch.load(place / "last.ckpt", weights_only=True)
    assert content["global_step"] == 5
    (state,) = content["optimizer_states"]
    assert {int(entry["step"]) for entry in state["state"].values()} == {5}


def test_the_latest_two_and_the_best_are_kept(folder: Path, tmp_path: Path) -> None:
    fit(folder, tmp_path, [Checkpoints(every_n_train_steps=1)], max_epochs=2)
    place = tmp_path / "checkpoints"
    best = {path.resolve().name for path in place.glob("best-*.ckpt")}
    total = int(torch.load(place / "last.ckpt", weights_only=True)["global_step"])
    kept = {f"step-{total}.ckpt", f"step-{total - 1}.ckpt"} | best
    assert len(best) == 1
    assert {path.name for path in place.glob("step-*.ckpt")} == kept
    assert {path.name for path in place.glob("*.sha256")} == {f"{name}.sha256" for name in kept}
    for path in place.glob("step-*.ckpt"):
        digest = (place / f"{path.name}.sha256").read_text()
        assert digest == f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n"


def test_a_second_fit_leaves_the_first_ones_checkpoints(folder: Path, tmp_path: Path) -> None:
    first, second = Checkpoints(keep=1), Checkpoints(keep=1)
    fit(folder, tmp_path, [first], max_steps=2)
    place = tmp_path / "checkpoints"
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    fit(folder, tmp_path, [second], max_steps=3)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    other = tmp_path / "checkpoints-2"
    assert (first.folder, second.folder) == (place, other)
    fit(folder, tmp_path, [third := Checkpoints(keep=1)], other / "last.ckpt", max_steps=4)  # goes on with the second
    assert third.folder == other
    assert (other / "last.ckpt").readlink() == Path("step-4.ckpt")
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_a_callback_that_is_used_again_begins_anew(folder: Path, tmp_path: Path) -> None:
    callback = Checkpoints()
    for name in ("checkpoints", "checkpoints-2"):
        fit(folder, tmp_path, [callback], max_steps=1)
        assert callback.folder == tmp_path / name
        assert (callback.folder / "last.ckpt").is_file()


def test_one_checkpoint_is_kept_for_each_interval(tmp_path: Path) -> None:
    """Eight files of four days."""
    callback = Checkpoints(keep=1, keep_every_hours=24)
    for step in range(1, 9):
        AtomicCheckpointIO().save_checkpoint({"step": step}, tmp_path / f"step-{step}.ckpt")
        os.utime(tmp_path / f"step-{step}.ckpt", (step * 43_200, step * 43_200))
    callback._update_links(tmp_path / "step-8.ckpt", {})
    assert {path.name for path in tmp_path.glob("step-*.ckpt")} == {f"step-{step}.ckpt" for step in (1, 2, 4, 6, 8)}


def test_the_best_checkpoint_has_the_lowest_perplexity(folder: Path, tmp_path: Path) -> None:
    perplexities: list[float] = []

    class Recorder(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
            perplexities.append(float(trainer.callback_metrics["val/perplexity"]))

    fit(folder, tmp_path, [Checkpoints(), Recorder()], max_epochs=3)
    (path,) = tmp_path.rglob("best*.ckpt")
    assert path.stem.endswith(f"{min(perplexities):.2f}")
    stored = json.loads(torch.load(path, weights_only=True)["lightning_med"]["metrics"])
    assert stored["val/perplexity"] == pytest.approx(min(perplexities), rel=1e-6)


def fail_full_disk(content: Any, file: Any) -> None:
    file.write(b"half of it")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "step-1.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)
    monkeypatch.setattr(writing.torch, "save", fail_full_disk)
    with pytest.raises(RunError, match=r"full \(No space.*needs 16 MiB"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["step-1.ckpt", "step-1.ckpt.sha256"]


def test_a_failed_background_write_ends_the_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(folder, tmp_path, [Checkpoints()], max_steps=2)
    monkeypatch.setattr(writing.torch, "save", fail_full_disk)
    last = tmp_path / "checkpoints" / "last.ckpt"
    with pytest.raises(RunError, match="disk is full"):
        fit(folder, tmp_path, [Checkpoints(every_n_train_steps=1)], last, max_epochs=3)
    assert digests.verify_digest(last)
    assert not list(last.parent.glob(".*"))


def test_nothing_is_written_to_a_disk_without_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    with pytest.raises(RunError, match=r"1 MiB are free.*needs 24 MiB"):
        AtomicCheckpointIO().save_checkpoint({"weight": torch.zeros(2 << 20)}, tmp_path / "step-1.ckpt")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_contains_the_state_at_the_call(tmp_path: Path) -> None:
    """Training continues during the write; tensors that share memory are written once."""
    weight = torch.ones(1 << 16)
    content, io, done = {"weight": weight, "tied": weight, "step": 1}, AtomicCheckpointIO(), []
    io.save_checkpoint(content, tmp_path / "x.ckpt", storage_options={"then": lambda: done.append(True)})
    weight += 1
    io.teardown()
    saved = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert torch.equal(saved["weight"], torch.ones(1 << 16))
    assert saved["tied"].data_ptr() == saved["weight"].data_ptr()
    assert done == [True]
    assert (tmp_path / "x.ckpt").stat().st_size < 1.5 * (1 << 18)
