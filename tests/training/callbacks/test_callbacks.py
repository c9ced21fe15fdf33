"""What happens beside training: what TensorBoard holds, what stands on disk after a crash or a signal."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_med.checkpoints import digests, writing
from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.predictions import PredictionWriter
from lightning_med.training.callbacks.sample_answers import SampleAnswers
from lightning_med.training.callbacks.save_on_signal import Interrupted, SaveOnSignal
from lightning_med.utils.errors import RunError
from tests import tiny


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.finished_run(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="module")
def events(run: Path) -> EventAccumulator:
    return EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0}).Reload()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the table and its cache."""
    return tmp_path_factory.mktemp("callbacks")


def fit(folder: Path, tmp_path: Path, callbacks: list[Any], ckpt_path: Path | None = None, **changes: Any) -> Any:
    L.seed_everything(3, verbose=False)
    trainer = tiny.trainer(tmp_path, callbacks=callbacks, **changes)
    trainer.fit(tiny.language_model(), tiny.data_module(folder), ckpt_path=ckpt_path, weights_only=True)
    return trainer


# ------------------------------------------------------------------ TensorBoard

SCALARS = [
    *(
        f"train/{name}"
        for name in ("loss", "perplexity", "bits_per_byte", "tokens", "gradient_norm", "tokens_per_second")
    ),
    *(f"train/{name}" for name in ("utilisation", "data_wait", "peak_memory_gib")),
    *(f"val/{name}" for name in ("loss", "perplexity", "bits_per_byte", "tokens")),
]


@pytest.mark.parametrize("name", SCALARS)
def test_a_run_logs(events: EventAccumulator, name: str) -> None:
    points = events.Scalars(name)
    assert points
    assert all(point.value > 0 for point in points)


def test_a_run_logs_the_learning_rate_of_each_step(events: EventAccumulator, run: Path) -> None:
    (name,) = {tag for tag in events.Tags()["scalars"] if tag.startswith("lr-") and "/pg2" not in tag}
    rates = [point.value for point in events.Scalars(name)]
    assert max(rates) == pytest.approx(3e-3)
    assert rates[-1] < rates[len(rates) // 2]
    assert len(rates) == torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


def test_perplexity_is_the_exponential_of_the_loss_at_every_point(events: EventAccumulator) -> None:
    for part in ("train", "val"):
        for loss, perplexity in zip(events.Scalars(f"{part}/loss"), events.Scalars(f"{part}/perplexity"), strict=True):
            assert loss.step == perplexity.step
            assert perplexity.value == pytest.approx(float(torch.tensor(loss.value).exp()), rel=1e-4)


def test_metrics_stand_in_a_table_too(run: Path) -> None:
    table = pd.read_csv(run / "metrics.csv")
    assert {"step", "train/loss", "val/perplexity"} <= set(table.columns)
    assert table["val/perplexity"].dropna().iloc[-1] < table["val/perplexity"].dropna().iloc[0]


def test_the_hparams_tab_shows_settings_beside_metrics(events: EventAccumulator, run: Path) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = {}
    for tag in ("_hparams_/experiment", "_hparams_/session_start_info"):
        content[tag] = HParamsPluginData.FromString(events.SummaryMetadata(tag).plugin_data.content)
    metrics = [info.name.tag for info in content["_hparams_/experiment"].experiment.metric_infos]
    settings = content["_hparams_/session_start_info"].session_start_info.hparams
    assert "val/perplexity" in metrics
    assert settings["model.lr"].number_value == pytest.approx(3e-3)
    assert "data.batch_tokens" in settings
    assert events.Scalars("val/perplexity")[-1].value > 0  # what the tab shows under that name


# ------------------------------------------------------------------ sample answers


def test_sample_answers_reach_tensorboard_at_each_validation(events: EventAccumulator, run: Path) -> None:
    steps = [point.step for point in events.Scalars("val/perplexity")]
    for number in range(2):
        points = events.Tensors(f"samples/{number}/text_summary")
        assert len(points) == len(steps) == 2
        for point in points:
            page = point.tensor_proto.string_val[0].decode()
            assert all(title in page for title in ("**Question**", "**Reference**", "**Answer at step"))
        questions = {point.tensor_proto.string_val[0].decode().split("**Reference**")[0] for point in points}
        assert len(questions) == 1  # the same question each time


@pytest.mark.parametrize("questions", [0, 2])
def test_sample_answers_change_nothing_that_is_learned(folder: Path, tmp_path: Path, questions: int) -> None:
    settings: dict[str, Any] = {"max_epochs": 2, "val_check_interval": 3}
    without = fit(folder, tmp_path, [], **settings)
    beside = fit(folder, tmp_path, [SampleAnswers(questions, max_new_tokens=4)], **settings)
    ours, theirs = (tiny.weights(trainer.lightning_module) for trainer in (beside, without))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_sample_answers_are_not_asked_outside_a_fit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(folder, tmp_path, [Checkpoints()])
    capsys.readouterr()
    trainer = tiny.trainer(tmp_path, callbacks=[SampleAnswers(1, max_new_tokens=2)])
    path = next(tmp_path.rglob("last.ckpt"))
    trainer.validate(tiny.language_model(), tiny.data_module(folder), ckpt_path=path, verbose=False, weights_only=True)
    assert "Sample answers" not in capsys.readouterr().out


# ------------------------------------------------------------------ checkpoints


def test_last_leads_to_the_last_step(folder: Path, tmp_path: Path) -> None:
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
        said = (place / f"{path.name}.sha256").read_text()
        assert said == f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n"


def test_one_is_kept_for_each_time(tmp_path: Path) -> None:
    """Here of files that were written on four days."""
    callback = Checkpoints(keep=1, keep_every_hours=24)
    for step in range(1, 9):
        AtomicCheckpointIO().save_checkpoint({"step": step}, tmp_path / f"step-{step}.ckpt")
        os.utime(tmp_path / f"step-{step}.ckpt", (step * 43_200, step * 43_200))
    callback._update_links(tmp_path / "step-8.ckpt", {})
    assert {path.name for path in tmp_path.glob("step-*.ckpt")} == {f"step-{step}.ckpt" for step in (1, 2, 4, 6, 8)}


def test_the_best_is_the_one_of_lowest_perplexity(folder: Path, tmp_path: Path) -> None:
    seen: list[float] = []

    class Seen(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
            seen.append(float(trainer.callback_metrics["val/perplexity"]))

    fit(folder, tmp_path, [Checkpoints(), Seen()], max_epochs=3)
    (path,) = tmp_path.rglob("best*.ckpt")
    assert path.stem.endswith(f"{min(seen):.2f}")
    stored = json.loads(torch.load(path, weights_only=True)["lightning_med"]["metrics"])
    assert stored["val/perplexity"] == pytest.approx(min(seen), rel=1e-6)


def full(content: Any, file: Any) -> None:
    file.write(b"half of it")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "step-1.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)
    monkeypatch.setattr(writing.torch, "save", full)
    with pytest.raises(RunError, match=r"full \(No space.*needs 16 MiB"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["step-1.ckpt", "step-1.ckpt.sha256"]


def test_a_failure_in_the_background_ends_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(folder, tmp_path, [Checkpoints()], max_steps=2)
    monkeypatch.setattr(writing.torch, "save", full)
    last = tmp_path / "checkpoints" / "last.ckpt"
    with pytest.raises(RunError, match="disk is full"):
        fit(folder, tmp_path, [Checkpoints(every_n_train_steps=1)], last, max_epochs=3)
    assert digests.verify_digest(last)
    assert not list(last.parent.glob(".*"))


def test_a_disk_without_room_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    with pytest.raises(RunError, match=r"1 MiB are free.*needs 24 MiB"):
        AtomicCheckpointIO().save_checkpoint({"weight": torch.zeros(2 << 20)}, tmp_path / "step-1.ckpt")
    assert not list(tmp_path.iterdir())


def test_what_is_written_is_the_state_at_the_call(tmp_path: Path) -> None:
    """Though the training goes on meanwhile; tensors that share their memory are written once."""
    weight = torch.ones(1 << 16)
    content, io, done = {"weight": weight, "tied": weight, "step": 1}, AtomicCheckpointIO(), []
    io.save_checkpoint(content, tmp_path / "x.ckpt", storage_options={"then": lambda: done.append(True)})
    weight += 1
    io.teardown()
    found = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert torch.equal(found["weight"], torch.ones(1 << 16))
    assert found["tied"].data_ptr() == found["weight"].data_ptr()
    assert done == [True]
    assert (tmp_path / "x.ckpt").stat().st_size < 1.5 * (1 << 18)


# ------------------------------------------------------------------ predictions


def predict(folder: Path, tmp_path: Path, checkpoint: Path, *callbacks: Any) -> None:
    trainer = tiny.trainer(tmp_path, callbacks=list(callbacks))
    model, data = tiny.language_model(max_new_tokens=3), tiny.data_module(folder)
    trainer.predict(model, data, ckpt_path=checkpoint, return_predictions=False, weights_only=True)


@pytest.fixture(scope="module")
def checkpoint(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fitted")
    fit(folder, place, [Checkpoints()], max_steps=2)
    return next(place.rglob("last.ckpt"))


def test_predictions_are_a_line_for_each_test_question_in_source_order(
    folder: Path, tmp_path: Path, checkpoint: Path
) -> None:
    path = tmp_path / "predictions.jsonl"
    predict(folder, tmp_path, checkpoint, PredictionWriter(path))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    store = tiny.data_module(folder).store("test")
    expected = sorted((store.texts(row) for row in range(len(store))), key=lambda text: (text["source"], text["row"]))
    assert [row["row"] for row in rows] == [text["row"] for text in expected]
    for row, text in zip(rows, expected, strict=True):
        assert (row["question"], row["reference"], row["source"]) == (text["question"], text["answer"], text["source"])
        assert {"answer", "raw"} <= set(row)


def test_interrupted_predictions_leave_no_file(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    class Stop(L.Callback):
        def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError("the machine goes down")

    path = tmp_path / "predictions.jsonl"
    with pytest.raises(RuntimeError, match="goes down"):
        predict(folder, tmp_path, checkpoint, PredictionWriter(path), Stop())
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ signals


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_a_signal_saves_the_step_at_hand(folder: Path, tmp_path: Path, name: str, code: int) -> None:
    with pytest.raises(Interrupted) as raised:
        fit(folder, tmp_path, [SaveOnSignal(), Checkpoints(), tiny.Send(name, step=2)], max_epochs=2)
    assert raised.value.code == code
    path = next(tmp_path.rglob("last.ckpt"))
    assert torch.load(path, weights_only=True)["global_step"] == 2
    trainer = tiny.trainer(tmp_path)
    model, data = tiny.language_model(), tiny.data_module(folder)
    (results,) = trainer.validate(model, data, ckpt_path=path, verbose=False, weights_only=True)
    assert results["val/perplexity"] > 1


HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[signal.Signals, Any]]:
    """The handlers as they were; put back afterwards, whatever a test left."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_belong_to_the_program_again_after_a_fit(
    folder: Path, tmp_path: Path, handlers: dict[signal.Signals, Any]
) -> None:
    fit(folder, tmp_path, [SaveOnSignal(), Checkpoints()])
    assert {number: signal.getsignal(number) for number in HANDLED} == handlers


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_fit_goes_on_after_a_signal_as_if_there_had_been_none(folder: Path, tmp_path: Path, accumulate: int) -> None:
    settings: dict[str, Any] = {"max_epochs": 2, "accumulate_grad_batches": accumulate}
    whole = fit(folder, tmp_path, [], **settings)
    with pytest.raises(Interrupted):
        fit(folder, tmp_path, [SaveOnSignal(), Checkpoints(), tiny.Send("SIGTERM", step=2)], **settings)
    path = next(tmp_path.rglob("last.ckpt"))
    again = fit(folder, tmp_path / "again", [SaveOnSignal(), Checkpoints()], path, **settings)
    ours, theirs = (tiny.weights(trainer.lightning_module) for trainer in (again, whole))
    assert again.global_step == whole.global_step
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_under_slurm_the_job_is_put_into_the_queue_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Lightning's own handler, after our save; here a script takes the place of `scontrol`."""
    command = tmp_path / "bin" / "scontrol"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "asked"}\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    for name, value in {"JOB_ID": "77", "NTASKS": "1", "LOCALID": "0", "PROCID": "0", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NODELIST", "localhost")
    plugins = [AtomicCheckpointIO(), SLURMEnvironment(auto_requeue=True)]
    with pytest.raises(Interrupted) as raised:
        fit(
            folder,
            tmp_path,
            [SaveOnSignal(), Checkpoints(), tiny.Send("SIGUSR1", step=2)],
            max_epochs=2,
            plugins=plugins,
        )
    assert raised.value.code == 138
    assert (tmp_path / "asked").read_text().split() == ["requeue", "77"]
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
    assert not list(tmp_path.glob("hpc_ckpt*"))


def test_a_signal_in_the_last_window_of_an_epoch_is_heard(folder: Path, tmp_path: Path) -> None:
    """Which may have fewer batches than the others: the step at the epoch's end ends it too."""
    batches = len(tiny.data_module(folder).plan_epoch(0))
    accumulate = next(n for n in range(2, batches) if batches % n == 1)
    steps = -(-batches // accumulate)
    with pytest.raises(Interrupted):
        fit(
            folder,
            tmp_path,
            [SaveOnSignal(), Checkpoints(), tiny.Send("SIGTERM", step=steps)],
            accumulate_grad_batches=accumulate,
        )
    assert torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)["global_step"] == steps


def test_a_second_signal_ends_the_run_at_once(folder: Path, tmp_path: Path) -> None:
    class Twice(tiny.Send):
        def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
            if trainer.global_step == self.step - 1:
                os.kill(os.getpid(), self.number)
                os.kill(os.getpid(), self.number)

    with pytest.raises(Interrupted) as raised:
        fit(folder, tmp_path, [SaveOnSignal(), Checkpoints(every_n_train_steps=1), Twice("SIGINT", step=3)])
    assert raised.value.code == 130
    assert torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)["global_step"] == 2


def test_a_signal_ends_an_evaluation_at_once(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    class SendNow(L.Callback):
        def on_predict_batch_start(self, *args: Any, **kwargs: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as raised:
        predict(folder, tmp_path, checkpoint, SaveOnSignal(), PredictionWriter(tmp_path / "p.jsonl"), SendNow())
    assert raised.value.code == 143
    assert not (tmp_path / "p.jsonl").exists()
