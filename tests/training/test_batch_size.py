"""Tokens of a step, exact for any batches, and tokens of a batch, measured once from the free memory."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_med.data.batching.collate import collate_flat
from lightning_med.data.module import DialogueDataModule
from lightning_med.model.causal_lm import build_from_scratch, build_from_text, compute_nll, describe_network
from lightning_med.training import batch_size
from lightning_med.training.module import DialogueLM
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.training.helpers import Steps

GIB = 1 << 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the table and its cache."""
    return tmp_path_factory.mktemp("budget")


def fit(
    folder: Path, place: Path, data: dict[str, Any], ckpt_path: Path | None = None, **changes: Any
) -> tuple[DialogueLM, Steps, L.Trainer]:
    """Returns the module, its recorded steps and the trainer of a short fit."""
    steps = Steps()
    callbacks = [*changes.pop("callbacks", []), steps]
    L.seed_everything(7, verbose=False)
    model = tiny.language_model(question_weight=0.25)
    trainer = tiny.trainer(place, callbacks=callbacks, **changes)
    trainer.fit(model, tiny.data_module(folder, **data), ckpt_path=ckpt_path, weights_only=True)
    return model, steps, trainer


def set_free_memory(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(batch_size, "measure_free_memory", lambda device: int(size))


def make_network(**changes: Any) -> Any:
    return build_from_scratch({**tiny.NETWORK, **changes}, 300, 0, 0.1, 1)


# ------------------------------------------------------------------ tokens of a step


def test_a_step_of_several_batches_equals_a_step_of_one_large_batch(folder: Path, tmp_path: Path) -> None:
    several, several_steps, trainer = fit(
        folder, tmp_path, {"tokens_per_step": 1200, "batch_tokens": 300}, max_epochs=2
    )
    one, one_steps, _ = fit(folder, tmp_path, {"tokens_per_step": 1200, "batch_tokens": 1200}, max_epochs=2)
    assert trainer.accumulate_grad_batches == 7
    assert [sorted(rows) for rows in several_steps.rows] == [sorted(rows) for rows in one_steps.rows]
    assert several_steps.rates == one_steps.rates
    assert len(several_steps.rows) == several.total_steps == one.total_steps > 3
    assert tiny.relative_l2(several_steps.gradients[0], one_steps.gradients[0]) < 1e-6


def test_the_gradient_of_uneven_batches_is_that_of_the_mean_over_their_tokens(folder: Path, tmp_path: Path) -> None:
    """Compares each step with a single batch of its rows, from the same weights."""
    model, steps, trainer = fit(folder, tmp_path, {"tokens_per_step": 1000, "batch_tokens": 300})
    data: DialogueDataModule = trainer.datamodule  # type: ignore[attr-defined]
    assert len(steps.rows[-1]) < len(steps.rows[0])  # the remainder of an epoch
    for rows, weights, gradients in zip(steps.rows, steps.weights, steps.gradients, strict=True):
        other = build_from_text(describe_network(model.network))
        other.load_state_dict(weights)
        batch = collate_flat(data.store("train"), torch.tensor(rows).numpy())
        learned = batch["answers"] + 0.25 * (len(batch["targets"]) - batch["answers"])
        (compute_nll(other, batch, 0.25)[0] / learned).backward()
        single = {name: p.grad for name, p in other.named_parameters() if p.grad is not None}
        assert tiny.relative_l2(gradients, single) < 1e-6


def test_a_validation_waits_for_the_end_of_its_step_and_a_fit_resumes_there(folder: Path, tmp_path: Path) -> None:
    """A checkpoint within a step would lose the gradients accumulated so far."""
    data = {"tokens_per_step": 700, "batch_tokens": 300}
    each = ModelCheckpoint(tmp_path, "at-{step}-{val/perplexity:.4f}", "val/perplexity", save_top_k=-1)
    each.auto_insert_metric_name = False
    settings: dict[str, Any] = {"max_epochs": 2, "val_check_interval": 5}
    model, steps, trainer = fit(folder, tmp_path, data, callbacks=[each], **settings)
    assert trainer.accumulate_grad_batches == 4
    checked = 0
    for checkpoint in tmp_path.glob("*.ckpt"):
        stored = torch.load(checkpoint, weights_only=True)
        progress = stored["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        assert progress["current"]["ready"] % 4 == 0 or progress["is_last_batch"]
        resumed, resumed_steps, _ = fit(folder, tmp_path / "resumed", data, checkpoint, **settings)
        done = stored["global_step"]
        assert resumed_steps.rows[0][-len(steps.rows[done]) :] == steps.rows[done]
        assert resumed_steps.rows[1:] == steps.rows[done + 1 :]
        assert resumed_steps.rates == steps.rates[done:]
        assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), model.parameters(), strict=True))
        checked += 1
    assert checked >= 2


def test_tokens_per_step_with_accumulate_grad_batches_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="accumulate_grad_batches 2") as caught:
        fit(folder, tmp_path, {"tokens_per_step": 1200}, accumulate_grad_batches=2)
    assert caught.value.hint


# ------------------------------------------------------------------ what fits


@pytest.mark.parametrize("size", [0, 10e6, 60e6, 200e6, GIB, 100 * GIB])
def test_the_budget_is_reproducible_and_within_bounds(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    set_free_memory(monkeypatch, size)
    budgets = [batch_size.measure_budget(make_network(), torch.device("cpu"), nullcontext, 128) for _ in range(2)]
    assert budgets[0] == budgets[1]
    assert 128 <= budgets[0].tokens <= 16_384
    assert budgets[0].tokens == 128 or budgets[0].tokens % 512 == 0
    if size == 0:
        assert budgets[0].tokens == 128
    if size > 50 * GIB:
        assert budgets[0].tokens == 16_384


def test_the_budget_grows_with_memory_and_shrinks_with_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    set_free_memory(monkeypatch, 600e6)
    device = torch.device("cpu")
    small, large = (batch_size.measure_budget(make_network(n_layer=n), device, nullcontext, 128) for n in (8, 16))
    assert small.tokens > large.tokens > 128
    assert large.per_token == pytest.approx(2 * small.per_token, rel=0.1)
    set_free_memory(monkeypatch, 1200e6)
    assert batch_size.measure_budget(make_network(n_layer=16), device, nullcontext, 128).tokens > large.tokens


def test_a_probe_changes_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    probed = make_network().eval()
    before, state = tiny.weights(probed), torch.get_rng_state()
    with torch.inference_mode():  # as in an evaluation
        batch_size.measure_budget(probed, torch.device("cpu"), nullcontext, 128)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weight, before[name]) for name, weight in probed.state_dict().items())
    assert all(p.grad is None for p in probed.parameters())
    assert not probed.training


# ------------------------------------------------------------------ auto


def test_auto_is_measured_once_reported_and_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_free_memory(monkeypatch, 100e6)
    keep = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    settings = {"max_epochs": 2, "callbacks": [keep]}
    model, steps, trainer = fit(folder, tmp_path, {"batch_tokens": "auto"}, **settings)
    data: DialogueDataModule = trainer.datamodule  # type: ignore[attr-defined]
    tokens = data.batch_tokens
    assert isinstance(tokens, int)
    assert tokens >= 128
    assert model.resolve_settings()["data"]["batch_tokens"] == tokens
    assert data.hparams["batch_tokens"] == tokens
    assert capsys.readouterr().out.count(f"batch_tokens auto: {tokens:,} tokens fit in a batch") == 1
    plain, others, _ = fit(folder, tmp_path / "plain", {"batch_tokens": tokens}, max_epochs=2)
    assert others.rows == steps.rows
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True))

    set_free_memory(monkeypatch, 100 * GIB)  # a resumed fit uses the number in its checkpoint
    path = tmp_path / "step=1.ckpt"
    resumed, resumed_steps, resumed_trainer = fit(
        folder, tmp_path / "resumed", {"batch_tokens": "auto"}, path, max_epochs=2
    )
    assert resumed_trainer.datamodule.batch_tokens == tokens  # type: ignore[attr-defined]
    assert resumed_steps.rows == steps.rows[1:]
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), model.parameters(), strict=True))
    assert "as in the checkpoint" in capsys.readouterr().out

    evaluator, evaluated = tiny.trainer(tmp_path), tiny.data_module(folder, batch_tokens="auto")
    evaluator.test(resumed, evaluated, verbose=False)  # an evaluation measures again: it may run on another machine
    assert evaluated.batch_tokens == 16_384


def test_auto_does_not_change_steps_of_given_tokens(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = []
    for size in (10e6, 100 * GIB):
        set_free_memory(monkeypatch, size)
        fits.append(fit(folder, tmp_path, {"batch_tokens": "auto", "tokens_per_step": 1200}))
    assert [trainer.accumulate_grad_batches for *_, trainer in fits] == [9, 1]
    steps = [[sorted(rows) for rows in recorded.rows] for _, recorded, _ in fits]
    assert steps[0] == steps[1]


def test_auto_without_a_network_is_refused_with_a_hint(folder: Path) -> None:
    data = tiny.data_module(folder, batch_tokens="auto")
    with pytest.raises(InputError, match="auto") as caught:
        data.plan_epoch(0)
    assert "--data.batch_tokens" in caught.value.hint
    assert data.state_dict() == {}


# ------------------------------------------------------------------ the command


def test_a_run_saves_the_number_of_auto(tmp_path: Path) -> None:
    content = tiny.settings(tmp_path, max_steps=3, callbacks=[])
    content["data"].update(batch_tokens="auto", tokens_per_step=600)
    content["samples"] = {"questions": 0}
    (tmp_path / "auto.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    status, out, err = tiny.command("fit", "--config", tmp_path / "auto.yaml", cwd=tmp_path)
    assert status == 0, err
    assert "batch_tokens auto: " in out
    run = tmp_path / "lightning_logs" / "auto" / "version_0"
    saved = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert saved["data"]["tokens_per_step"] == 600
    assert isinstance(saved["data"]["batch_tokens"], int)
    assert saved["trainer"]["accumulate_grad_batches"] == 1  # so that the saved settings are valid input
    argv = ("fit", "--config", run / "config.yaml", "--name", "again")
    assert tiny.command(*argv, cwd=tmp_path)[0] == 0
    last = run / "checkpoints" / "last.ckpt"
    assert tiny.command("validate", "--ckpt_path", last, cwd=tmp_path)[0] == 0
