"""DialogueLM under a trainer: the mean over tokens, exact resumption, and a checkpoint that is enough."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.data.module import DialogueDataModule
from lightning_med.model.causal_lm import build_from_scratch, build_from_text, compute_nll, describe_network
from lightning_med.tokenization.encoder import ANSWER, QUESTION
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.module import DialogueLM
from lightning_med.utils.errors import InputError
from tests import tiny

SEED = 7  # of tests/model/conftest.py


class Steps(L.Callback):
    """Keeps what each optimizer step was made of: rows, weights before, gradients and learning rate."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self.weights: list[dict[str, Tensor]] = []
        self.gradients: list[dict[str, Tensor]] = []
        self.rates: list[float] = []
        self._seen: list[int] = []

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._seen += batch["rows"]

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
        self.rows.append(self._seen)
        self._seen = []
        self.weights.append(tiny.weights(pl_module.network))
        self.gradients.append({name: p.grad.clone() for name, p in pl_module.network.named_parameters()})
        self.rates.append(optimizer.param_groups[0]["lr"])


def fit(folder: Path, tmp_path: Path, data: dict[str, Any] | None = None, **changes: Any) -> tuple[DialogueLM, Steps]:
    """A short fit whose steps are kept."""
    model_changes, steps = changes.pop("model", {}), Steps()
    ckpt_path = changes.pop("ckpt_path", None)
    callbacks = [*changes.pop("callbacks", []), steps]
    L.seed_everything(SEED, verbose=False)
    model = tiny.language_model(**model_changes)
    trainer = tiny.trainer(tmp_path, callbacks=callbacks, **changes)
    trainer.fit(model, tiny.data_module(folder, **(data or {})), ckpt_path=ckpt_path, weights_only=True)
    return model, steps


def budget(folder: Path, batches: int) -> int:
    """Tokens a batch must hold so that an epoch has so many batches."""
    for tokens in range(128, 20_000, 16):
        if len(tiny.data_module(folder, batch_tokens=tokens).plan_epoch(0)) == batches:
            return tokens
    raise AssertionError(f"no budget gives {batches} batches")


def mean_over_tokens(
    network: Any, data: DialogueDataModule, rows: list[int], question_weight: float = 0.0
) -> dict[str, Tensor]:
    """The gradient of the weighted mean over these rows' learned tokens, a plain forward a row."""
    store, total, weight = data.store("train"), torch.zeros(()), 0.0
    network.zero_grad()
    for row in rows:
        ids, parts = torch.tensor(store.input_ids(row).astype(np.int64)), torch.tensor(store.parts(row)[1:])
        nll = cross_entropy(network(ids[None]).logits[0, :-1], ids[1:], reduction="none")
        importance = (parts == ANSWER).float() + question_weight * (parts == QUESTION).float()
        total, weight = total + (nll * importance).sum(), weight + float(importance.sum())
    (total / weight).backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


# ------------------------------------------------------------------ a step


@pytest.mark.parametrize("question_weight", [0.0, 0.5])
def test_a_step_over_three_uneven_batches_is_a_step_over_one(
    folder: Path, tmp_path: Path, question_weight: float
) -> None:
    settings: dict[str, Any] = {"max_steps": 1, "model": {"question_weight": question_weight}}
    three, parts = fit(folder, tmp_path, {"batch_tokens": budget(folder, 3)}, accumulate_grad_batches=3, **settings)
    one, whole = fit(folder, tmp_path, {"batch_tokens": 20_000}, **settings)
    assert sorted(parts.rows[0]) == sorted(whole.rows[0])
    assert tiny.relative_l2(parts.gradients[0], whole.gradients[0]) < 1e-5
    assert tiny.relative_l2(tiny.weights(three), tiny.weights(one)) < 1e-4


@pytest.mark.parametrize("kind", ["flat", "padded"])
def test_every_step_follows_the_mean_over_its_tokens(
    folder: Path, tmp_path: Path, data: DialogueDataModule, kind: str
) -> None:
    """Also the last step of an epoch, made of fewer batches than the others."""
    changes = {"batch_tokens": budget(folder, 5) if kind == "flat" else 10 * 128, "pad_to_max_length": kind == "padded"}
    model, steps = fit(
        folder, tmp_path, changes, accumulate_grad_batches=3, max_epochs=2, model={"question_weight": 0.25}
    )
    assert len(steps.rows) == 4
    assert len(steps.rows[1]) < len(steps.rows[0])
    network = build_from_text(describe_network(model.network)).eval()
    for rows, weights, gradients in zip(steps.rows, steps.weights, steps.gradients, strict=True):
        network.load_state_dict(weights)
        assert tiny.relative_l2(gradients, mean_over_tokens(network, data, rows, 0.25)) < 1e-5


def test_an_epoch_sees_each_row_once(folder: Path, tmp_path: Path, data: DialogueDataModule) -> None:
    _, steps = fit(folder, tmp_path, max_epochs=2)
    half = len(steps.rows) // 2
    epochs = [[row for step in part for row in step] for part in (steps.rows[:half], steps.rows[half:])]
    for rows in epochs:
        assert sorted(rows) == list(range(len(data.store("train"))))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("clip", [None, 0.1])
def test_a_scaled_gradient_is_clipped_at_its_own_size(folder: Path, tmp_path: Path, clip: float | None) -> None:
    """float16 with a scaler, on the processor: the same course as in float32, with accumulation."""

    class Norms(L.Callback):
        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_before_zero_grad(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
            if pl_module._gradient_norm is not None:
                self.seen.append(float(pl_module._gradient_norm))

    settings: dict[str, Any] = {"max_epochs": 1, "accumulate_grad_batches": 2, "gradient_clip_val": clip}
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    plugins = [AtomicCheckpointIO(), MixedPrecision("16-mixed", "cpu", scaler)]
    norms = Norms(), Norms()
    exact, _ = fit(folder, tmp_path, callbacks=[norms[0]], **settings)
    half, _ = fit(folder, tmp_path, callbacks=[norms[1]], precision=None, plugins=plugins, **settings)
    assert len(norms[0].seen) > 1
    assert norms[1].seen == pytest.approx(norms[0].seen, rel=0.02)
    assert tiny.relative_l2(tiny.weights(half), tiny.weights(exact)) < 0.01


def test_a_scaled_gradient_that_overflows_changes_nothing(folder: Path, tmp_path: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    plugins = [AtomicCheckpointIO(), MixedPrecision("16-mixed", "cpu", scaler)]
    model, steps = fit(folder, tmp_path, max_steps=2, gradient_clip_val=1.0, precision=None, plugins=plugins)
    assert all(torch.equal(weight, steps.weights[0][name]) for name, weight in tiny.weights(model.network).items())
    assert scaler.get_scale() == 2.0**38


def test_clipping_bounds_the_gradient(folder: Path, tmp_path: Path) -> None:
    _, free = fit(folder, tmp_path, max_steps=1)
    norm = float(torch.stack([g.norm() for g in free.gradients[0].values()]).norm())
    assert norm > 0.01

    class Clipped(L.Callback):
        def on_before_zero_grad(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
            found = [p.grad.norm() for p in pl_module.parameters() if p.grad is not None]
            if found:
                norms.append(float(torch.stack(found).norm()))

    norms: list[float] = []
    fit(folder, tmp_path, max_steps=2, gradient_clip_val=0.01, callbacks=[Clipped()])
    assert norms
    assert max(norms) <= 0.01 * 1.001


def test_a_pretrained_base_trains_with_its_dropout_and_validates_without(folder: Path, tmp_path: Path) -> None:
    GPT2LMHeadModel(
        GPT2Config(n_layer=1, n_embd=16, n_head=2, n_positions=160, vocab_size=300, eos_token_id=0)
    ).save_pretrained(tmp_path / "base")
    modes: list[tuple[str, bool]] = []

    class Modes(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
            modes.append(("train", all(m.training for m in pl_module.network.modules())))

        def on_validation_batch_start(self, trainer: L.Trainer, pl_module: Any, *args: Any) -> None:
            modes.append(("validate", any(m.training for m in pl_module.network.modules())))

    model = {"base": str(tmp_path / "base"), "from_scratch": None}
    fit(folder, tmp_path, max_epochs=2, model=model, callbacks=[Modes()])
    assert set(modes) == {("train", True), ("validate", False)}


def test_training_teaches(folder: Path, tmp_path: Path) -> None:
    model, _ = fit(folder, tmp_path, max_epochs=1)
    before = model.results["val/perplexity"]
    model, _ = fit(folder, tmp_path, max_epochs=6)
    assert model.results["val/perplexity"] < before / 2


def test_one_seed_gives_one_run(folder: Path, tmp_path: Path) -> None:
    first, second = (fit(folder, tmp_path, max_steps=3)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_settings_that_do_not_fit_are_the_users_mistake(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No model"):
        DialogueLM(base=None)
    with pytest.raises(InputError, match="question_weight"):
        DialogueLM(question_weight=1.5)
    with pytest.raises(InputError, match="context"):
        fit(folder, tmp_path, model={"from_scratch": {**tiny.NETWORK, "n_positions": 32}})


# ------------------------------------------------------------------ evaluation


@pytest.fixture(scope="module")
def checkpoint(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a fit of one epoch."""
    place = tmp_path_factory.mktemp("fitted")
    fit(folder, place, callbacks=[Checkpoints()])
    return next(place.rglob("last.ckpt"))


def evaluate(
    folder: Path, tmp_path: Path, checkpoint: Path, verb: str = "test", model: Any = None, **data: Any
) -> dict[str, float]:
    L.seed_everything(SEED, verbose=False)
    model = model or tiny.language_model()
    trainer = tiny.trainer(tmp_path)
    run = getattr(trainer, verb)
    run(model, tiny.data_module(folder, **data), ckpt_path=checkpoint, verbose=False, weights_only=True)
    return model.results


def test_perplexity_is_the_same_whatever_a_batch_holds(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    results = [evaluate(folder, tmp_path, checkpoint, batch_tokens=tokens) for tokens in (512, 4096)]
    results.append(evaluate(folder, tmp_path, checkpoint, batch_tokens=1024, pad_to_max_length=True))
    for name, value in results[0].items():
        assert results[1][name] == pytest.approx(value, rel=1e-6)
        assert results[2][name] == pytest.approx(value, rel=1e-5)


def test_perplexity_is_that_of_a_plain_forward(
    folder: Path, tmp_path: Path, checkpoint: Path, data: DialogueDataModule
) -> None:
    network = DialogueLM.load_from_checkpoint(checkpoint).network.eval()
    store, total, tokens, size = data.store("test"), 0.0, 0, 0
    with torch.no_grad():
        for row in range(len(store)):
            ids, parts = torch.tensor(store.input_ids(row).astype(np.int64)), torch.tensor(store.parts(row)[1:])
            nll = cross_entropy(network(ids[None]).logits[0, :-1], ids[1:], reduction="none")
            total, tokens = total + float(nll[parts == ANSWER].double().sum()), tokens + int((parts == ANSWER).sum())
            size += len(str(store.texts(row)["answer"]).encode())
    results = evaluate(folder, tmp_path, checkpoint)
    assert results["test/tokens"] == tokens
    assert results["test/loss"] == pytest.approx(total / tokens, rel=1e-6)
    assert results["test/perplexity"] == pytest.approx(math.exp(total / tokens), rel=1e-6)
    assert results["test/bits_per_byte"] == pytest.approx(total / math.log(2) / size, rel=1e-6)


def test_the_base_stands_beside_it_on_the_same_rows(
    folder: Path, tmp_path: Path, checkpoint: Path, data: DialogueDataModule
) -> None:
    untuned = build_from_scratch(
        tiny.NETWORK, len(data.prepared.tokenizer), data.prepared.tokenizer.eos_token_id, 0.0, SEED
    ).eval()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for batch in data.test_dataloader():
            each = compute_nll(untuned, batch)[1]
            total, tokens = total + float(each.double().sum()), tokens + len(each)
    results = evaluate(folder, tmp_path, checkpoint)
    assert results["test/base_loss"] == pytest.approx(total / tokens, rel=1e-6)
    assert results["test/base_tokens"] == results["test/tokens"] == tokens
    assert results["test/perplexity"] < results["test/base_perplexity"]


def test_validation_knows_no_base(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    results = evaluate(folder, tmp_path, checkpoint, "validate")
    assert set(results) == {f"val/{name}" for name in ("loss", "perplexity", "bits_per_byte", "tokens")}


# ------------------------------------------------------------------ going on


@pytest.fixture(scope="module", params=[1, 2], ids=["each batch", "two batches a step"])
def whole(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path, DialogueLM, Steps]:
    """An uninterrupted fit of two epochs with a checkpoint after each step, each epoch and each validation."""
    place = tmp_path_factory.mktemp("whole")
    settings = {"max_epochs": 2, "accumulate_grad_batches": request.param, "val_check_interval": 4}
    every = [
        ModelCheckpoint(place, "step-{step}", save_top_k=-1, every_n_train_steps=1, auto_insert_metric_name=False),
        ModelCheckpoint(place, "epoch-{step}", save_top_k=-1, save_on_train_epoch_end=True, every_n_epochs=1),
        Checkpoints(),
    ]
    every[1].CHECKPOINT_NAME_LAST = "epoch-last"
    model, steps = fit(folder, place, callbacks=every, **settings)
    return settings, place, model, steps


def resumed(whole: Any, folder: Path, tmp_path: Path, checkpoint: Path, **changes: Any) -> tuple[DialogueLM, Steps]:
    return fit(folder, tmp_path, ckpt_path=checkpoint, **{**whole[0], **changes})


PLACES = ["first step", "mid-epoch", "before the epoch's end", "last batch", "epoch's end", "second epoch"]


@pytest.mark.parametrize("where", PLACES)
def test_a_fit_goes_on_as_if_it_had_never_stopped(whole: Any, folder: Path, tmp_path: Path, where: str) -> None:
    _, place, model, steps = whole
    total = len(steps.rows)
    epoch = total // 2
    names = {"first step": 1, "mid-epoch": epoch // 2, "before the epoch's end": epoch - 1, "last batch": epoch}
    names["second epoch"] = epoch + 2
    if where == "epoch's end":
        checkpoint = next(place.glob(f"epoch-*{epoch}.ckpt"))
    else:
        checkpoint = place / f"step-{names[where]}.ckpt"
    done = names.get(where, epoch)
    again, further = resumed(whole, folder, tmp_path, checkpoint)
    assert further.rows == steps.rows[done:]
    assert further.rates == steps.rates[done:]
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_a_fit_goes_on_from_the_best_checkpoint(whole: Any, folder: Path, tmp_path: Path) -> None:
    """Which is written by a validation, in the middle of an epoch or at its end."""
    _, place, model, steps = whole
    best = next(place.rglob("best*.ckpt"))
    done = torch.load(best, weights_only=True)["global_step"]
    again, further = resumed(whole, folder, tmp_path, best)
    assert further.rows == steps.rows[done:]
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_a_fit_that_goes_on_takes_the_learning_rate_of_now(whole: Any, folder: Path, tmp_path: Path) -> None:
    _, place, _, steps = whole
    _, further = resumed(whole, folder, tmp_path, place / "step-3.ckpt", model={"lr": 6e-3})
    assert further.rates == pytest.approx([2 * rate for rate in steps.rates[3:]])


@pytest.mark.parametrize("where", ["mid-epoch", "epoch's end"])
def test_a_fit_cut_short_goes_on_where_it_was(whole: Any, folder: Path, tmp_path: Path, where: str) -> None:
    settings, _, _, steps = whole
    cut = 3 if where == "mid-epoch" else len(steps.rows) // 2
    fit(folder, tmp_path, callbacks=[Checkpoints(every_n_train_steps=2)], **{**settings, "max_steps": cut})
    last = next(tmp_path.rglob("last.ckpt"))
    assert torch.load(last, weights_only=True)["global_step"] == cut
    _, further = resumed(whole, folder, tmp_path / "more", last)
    assert further.rows == steps.rows[cut:]


# ------------------------------------------------------------------ a checkpoint is enough


def test_a_checkpoint_holds_tensors_and_plain_values_only(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(map(plain, value.keys())) and all(map(plain, value.values()))
        if isinstance(value, (list, tuple)):
            return all(map(plain, value))
        return value is None or isinstance(value, (Tensor, str, int, float, bool))

    assert all(plain(value) for value in content.values())


def test_a_checkpoint_carries_what_a_later_call_needs(checkpoint: Path, data: DialogueDataModule) -> None:
    from lightning_med.checkpoints.reading import read_card, read_checkpoint
    from lightning_med.tokenization.tokenizer import restore_tokenizer

    card = read_card(read_checkpoint(checkpoint))
    text = "My tongue is sore <|endoftext|>"
    restored = restore_tokenizer(card["tokenizer"])
    assert restored(text)["input_ids"] == data.prepared.tokenizer(text)["input_ids"]
    assert restored.eos_token_id == data.prepared.tokenizer.eos_token_id
    assert card["system_prompt"] == tiny.SYSTEM
    assert card["max_length"] == 128
    assert card["data"]["fingerprint"] == data.prepared.fingerprint
    assert card["data"]["splits"] == data.prepared.report["splits"]
    assert card["settings"]["model"]["lr"] == 3e-3
    assert card["metrics"]["val/perplexity"] > 1
    assert json.loads(card["network"])["model_type"] == "gpt2"


def test_a_checkpoint_alone_builds_the_network(checkpoint: Path, data: DialogueDataModule) -> None:
    model = DialogueLM.load_from_checkpoint(checkpoint)
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert model.state_dict().keys() == stored.keys()
    assert all(torch.equal(weight, stored[name]) for name, weight in model.state_dict().items())
    assert model.hparams["lr"] == 3e-3
    with torch.no_grad():
        total, each = compute_nll(model.network.eval(), next(iter(data.test_dataloader())))
    assert float(total) == pytest.approx(float(each.sum()))


@pytest.mark.parametrize("verb", ["test", "fit"])
@pytest.mark.parametrize(
    ("change", "named"),
    [({"system_prompt": "You are a nurse."}, "prompt"), ({"vocab_size": 290}, "tokenizer|another model")],
)
def test_data_that_the_checkpoint_was_not_trained_for_is_refused(
    folder: Path, tmp_path: Path, checkpoint: Path, verb: str, change: dict[str, Any], named: str
) -> None:
    def call() -> None:
        if verb == "test":
            evaluate(folder, tmp_path, checkpoint, **change)
        else:
            fit(folder, tmp_path, change, ckpt_path=checkpoint, max_epochs=2)

    with pytest.raises(InputError, match=named):
        call()


def test_another_tokenizer_of_the_same_size_is_refused(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    other = tiny.table(tmp_path / "other.csv", seed=5)
    text = other.read_text().replace("tongue", "zebra").replace("doctor", "quokka")
    other.write_text(text)
    with pytest.raises(InputError, match="tokenizer"):
        evaluate(folder, tmp_path, checkpoint, source=str(other))


def test_a_network_of_another_shape_is_refused(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    model = tiny.language_model(from_scratch={**tiny.NETWORK, "n_layer": 1})
    with pytest.raises(InputError, match="another model"):
        evaluate(folder, tmp_path, checkpoint, model=model)


def test_a_checkpoint_of_another_program_is_refused(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    del content["lightning_med"]
    torch.save(content, tmp_path / "foreign.ckpt")
    with pytest.raises(InputError, match="lightning"):
        evaluate(folder, tmp_path, tmp_path / "foreign.ckpt")
