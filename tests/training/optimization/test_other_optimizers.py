"""Optimizers that a subclass of DialogueLM makes: they train with their own rates and decays, and resume as saved."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, StepLR

from lightning_med.checkpoints.writing import AtomicCheckpointIO
from lightning_med.model.causal_lm import build_from_scratch
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.callbacks.optimizer_state import OptimizerState
from lightning_med.training.module import DialogueLM
from lightning_med.training.optimization.other_optimizers import NamedOptimizer
from lightning_med.training.sharding import ShardedStrategy
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.training.helpers import SEED, Norms

RATES = (0.1, 0.02, 0.003)
DECAYS = (0.3, 0.0, 0.2)
Group = tuple[float, float]  # rate and decay


def split(module: DialogueLM, groups: int) -> list[dict[str, Any]]:
    """Returns the weights in groups, each with a rate and a decay of its own."""
    weights = list(module.parameters())
    return [{"params": weights[k::groups], "lr": RATES[k], "weight_decay": DECAYS[k]} for k in range(groups)]


class PlainAdamW(DialogueLM):
    def configure_optimizers(self) -> Any:
        return AdamW(self.parameters(), lr=0.01, weight_decay=0.3)


class TwoGroups(DialogueLM):
    """Two groups, and a rate that halves with each step; as a pair of lists."""

    def configure_optimizers(self) -> Any:
        optimizer = AdamW(split(self, 2))
        return [optimizer], [{"scheduler": LambdaLR(optimizer, lambda step: 0.5**step), "interval": "step"}]


class ThreeGroups(DialogueLM):
    def configure_optimizers(self) -> Any:
        optimizer = SGD(split(self, 3), momentum=0.9)
        return {"optimizer": optimizer, "lr_scheduler": StepLR(optimizer, 1, gamma=0.1)}


class Plateau(DialogueLM):
    """A rate that halves after each epoch that does not better the loss a hundredfold."""

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=0.1, weight_decay=0.3)
        schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.99)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val/loss"}}


class OwnOptimizerWithStepLR(DialogueLM):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()["optimizer"]
        for group, decay in zip(optimizer.param_groups, DECAYS, strict=False):
            group.update(lr=0.01, weight_decay=decay)
            del group["initial_lr"]
        return {"optimizer": optimizer, "lr_scheduler": StepLR(optimizer, 1, gamma=0.1)}


def expect(module: type[DialogueLM], epoch: int, step: int) -> list[Group]:
    """Returns rate and decay of each group in a step."""
    return {
        PlainAdamW: [(0.01, 0.3)],
        TwoGroups: [(rate * 0.5**step, decay) for rate, decay in zip(RATES[:2], DECAYS[:2], strict=True)],
        ThreeGroups: [(rate * 0.1**epoch, decay) for rate, decay in zip(RATES, DECAYS, strict=True)],
        Plateau: [(0.1 * 0.5 ** max(epoch - 1, 0), 0.3)],  # the first epoch sets the value to beat
        OwnOptimizerWithStepLR: [(0.01 * 0.1**epoch, decay) for decay in DECAYS[:2]],
    }[module]


class Groups(L.Callback):
    """Records rate and decay of each group in each step."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, list[Group]]] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
        groups = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
        self.seen.append((trainer.current_epoch, trainer.global_step, groups))


def fit(kind: type[DialogueLM], folder: Path, place: Path, **changes: Any) -> tuple[DialogueLM, Groups, Path]:
    """Returns the module after a short fit, its recorded groups, and the folder of its checkpoints."""
    groups, ckpt_path = Groups(), changes.pop("ckpt_path", None)
    callbacks = [groups, Checkpoints(every_n_train_steps=1, keep=100), *changes.pop("callbacks", [])]
    L.seed_everything(SEED, verbose=False)
    model = kind(**{"base": None, "from_scratch": tiny.NETWORK, "lr": 3e-3, **changes.pop("model", {})})
    trainer = tiny.trainer(place, callbacks=callbacks, **{"max_epochs": 3, **changes})
    data = tiny.data_module(folder, batch_tokens=1024)
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return model, groups, place / "checkpoints"


KINDS = [PlainAdamW, TwoGroups, ThreeGroups, Plateau, OwnOptimizerWithStepLR]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def uninterrupted(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[type[DialogueLM], Groups, Path]:
    _, groups, checkpoints = fit(request.param, folder, tmp_path_factory.mktemp("other"))
    return request.param, groups, checkpoints


def test_a_subclass_trains_with_the_rates_and_decays_of_its_own(uninterrupted: Any) -> None:
    kind, groups, _ = uninterrupted
    assert len(groups.seen) > 6
    for epoch, step, seen in groups.seen:
        assert seen == [pytest.approx(group) for group in expect(kind, epoch, step)]


@pytest.mark.parametrize("where", ["first", "epoch's end", "mid-epoch", "second epoch's end"])
def test_it_resumes_as_it_was_saved(uninterrupted: Any, folder: Path, tmp_path: Path, where: str) -> None:
    kind, groups, checkpoints = uninterrupted
    total = len(groups.seen)
    step = {"first": 1, "epoch's end": total // 3, "mid-epoch": total // 3 + 1, "second epoch's end": 2 * total // 3}[
        where
    ]
    _, resumed, after = fit(kind, folder, tmp_path, ckpt_path=checkpoints / f"step-{step}.ckpt")
    assert resumed.seen == groups.seen[step:]
    ours, theirs = (torch.load(place / "last.ckpt", weights_only=True) for place in (after, checkpoints))
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks"):
        assert tiny.is_equal(ours[part], theirs[part]), part


def test_a_plateau_is_judged_by_the_last_validation_of_an_epoch_also_after_a_resumption(
    folder: Path, tmp_path: Path
) -> None:
    """The validation lies before the interruption, the end of the epoch after it."""
    _, groups, checkpoints = fit(Plateau, folder, tmp_path / "whole", val_check_interval=3)
    epoch = len(groups.seen) // 3
    assert epoch % 3, "the last validation is not at the end of an epoch"
    _, resumed, _ = fit(
        Plateau, folder, tmp_path, val_check_interval=3, ckpt_path=checkpoints / f"step-{2 * epoch - 1}.ckpt"
    )
    assert resumed.seen == groups.seen[2 * epoch - 1 :]
    assert resumed.seen[0][2] != resumed.seen[-1][2]


class OwnOptimizerWithOtherDecays(DialogueLM):
    def configure_optimizers(self) -> Any:
        configured = super().configure_optimizers()
        configured["optimizer"].param_groups[1]["weight_decay"] = self.hparams["weight_decay"]
        return configured


@pytest.mark.parametrize(("kind", "decays"), [(DialogueLM, [0.5, 0.0]), (OwnOptimizerWithOtherDecays, [0.5, 0.5])])
def test_our_own_optimizer_resumes_with_the_settings_of_today(
    folder: Path, tmp_path: Path, kind: type[DialogueLM], decays: list[float]
) -> None:
    _, groups, checkpoints = fit(kind, folder, tmp_path / "first", model={"weight_decay": 0.5})
    for _, _, seen in groups.seen:
        assert [decay for _, decay in seen] == decays
    changed = {"lr": 6e-3, "weight_decay": 0.25}
    _, resumed, _ = fit(kind, folder, tmp_path, model=changed, ckpt_path=checkpoints / "step-5.ckpt")
    for (_, _, seen), (_, _, before) in zip(resumed.seen, groups.seen[5:], strict=True):
        assert seen == [pytest.approx((2 * rate, decay / 2)) for rate, decay in before]


def test_a_checkpoint_of_another_optimizer_is_refused(folder: Path, tmp_path: Path) -> None:
    _, _, checkpoints = fit(PlainAdamW, folder, tmp_path / "first", max_steps=1)
    for other in (ThreeGroups, DialogueLM):
        with pytest.raises(InputError, match=r"checkpoint's optimizer is AdamW of \d+ weights with a constant rate"):
            fit(other, folder, tmp_path, ckpt_path=checkpoints / "last.ckpt")


def test_sharded_weights_are_not_loaded_from_a_checkpoint_of_another_optimizer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That strategy loads the optimizer's state with the weights, before any callback gets its own."""
    _, _, checkpoints = fit(PlainAdamW, folder, tmp_path, max_steps=1)
    loaded: list[Path] = []
    monkeypatch.setattr(ModelParallelStrategy, "load_checkpoint", lambda self, path, weights_only: loaded.append(path))
    for kind in (PlainAdamW, ThreeGroups):
        module = kind(base=None, from_scratch=tiny.NETWORK)
        module.model = build_from_scratch(tiny.NETWORK, 300, 0, 0.0, SEED)
        configured: Any = module.configure_optimizers()
        state, optimizer = OptimizerState(), configured["optimizer"] if isinstance(configured, dict) else configured
        schedules = [SimpleNamespace(scheduler=configured["lr_scheduler"])] if isinstance(configured, dict) else []
        strategy = ShardedStrategy()
        trainer: Any = SimpleNamespace(strategy=strategy, optimizers=[optimizer], lr_scheduler_configs=schedules)
        state.on_fit_start(trainer, module)
        if kind is PlainAdamW:
            strategy.load_checkpoint(checkpoints / "last.ckpt")
            continue
        with pytest.raises(InputError, match="checkpoint's optimizer is AdamW"):
            strategy.load_checkpoint(checkpoints / "last.ckpt")
    assert len(loaded) == 1


class Several(DialogueLM):
    def configure_optimizers(self) -> Any:
        return [AdamW([weight]) for weight in list(self.parameters())[:2]]


class SeveralInDictionaries(DialogueLM):
    def configure_optimizers(self) -> Any:
        return [{"optimizer": AdamW([weight])} for weight in list(self.parameters())[:2]]


class NoOptimizer(DialogueLM):
    def configure_optimizers(self) -> Any:
        return None


class Manual(DialogueLM):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        return AdamW(self.parameters())


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (Several, "Several.configure_optimizers returns 2"),
        (SeveralInDictionaries, "returns 2"),
        (NoOptimizer, "returns 0"),
        (Manual, "Manual.automatic_optimization is off"),
    ],
)
def test_none_or_several_optimizers_are_refused(
    folder: Path, tmp_path: Path, kind: type[DialogueLM], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        fit(kind, folder, tmp_path)


# ------------------------------------------------------------------ gradients


class FusedSGD(DialogueLM):
    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.1, fused=True)


class PlainSGD(DialogueLM):
    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.1, foreach=False)


@pytest.mark.parametrize("kind", [FusedSGD, PlainSGD])
def test_a_scaled_gradient_is_clipped_at_its_unscaled_norm(
    folder: Path, tmp_path: Path, kind: type[DialogueLM]
) -> None:
    """float16 with a gradient scaler, on the CPU: the same norms and weights as in float32."""
    settings: dict[str, Any] = {"max_epochs": 2, "accumulate_grad_batches": 2, "gradient_clip_val": 0.1}
    plugins = [AtomicCheckpointIO(), MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))]
    norms = Norms(), Norms()
    exact, _, _ = fit(kind, folder, tmp_path / "exact", callbacks=[norms[0]], **settings)
    half, _, _ = fit(kind, folder, tmp_path / "half", callbacks=[norms[1]], precision=None, plugins=plugins, **settings)
    assert len(norms[0].values) > 1
    assert norms[1].values == pytest.approx(norms[0].values, rel=0.02)
    assert tiny.relative_l2(tiny.weights(half), tiny.weights(exact)) < 0.01


class LastBlock(DialogueLM):
    """Trains a part of the weights; the others collect gradients that nobody clears."""

    def configure_optimizers(self) -> Any:
        return SGD(self.network.base_model.h[-1].parameters(), lr=1.0)  # type: ignore[union-attr, index]


def test_only_the_gradients_of_trained_weights_count_for_the_norm(folder: Path, tmp_path: Path) -> None:
    norms, clip = Norms(), 0.01

    class Clipped(L.Callback):
        def on_before_zero_grad(self, trainer: L.Trainer, pl_module: Any, optimizer: Any) -> None:
            gradients = [weight.grad for weight in optimizer.param_groups[0]["params"] if weight.grad is not None]
            if gradients:
                clipped.append(float(torch.nn.utils.get_total_norm(gradients)))

    clipped: list[float] = []
    fit(LastBlock, folder, tmp_path, callbacks=[norms, Clipped()], gradient_clip_val=clip, max_epochs=1)
    assert min(norms.values) > clip
    assert clipped == pytest.approx([clip] * len(clipped), rel=1e-4)


@pytest.mark.parametrize("value", [-1.0, 0.0, None])
def test_a_bound_that_is_not_positive_clips_nothing(folder: Path, tmp_path: Path, value: float | None) -> None:
    clipped, _, _ = fit(PlainSGD, folder, tmp_path / "a", gradient_clip_val=value, max_steps=1)
    unclipped, _, _ = fit(PlainSGD, folder, tmp_path / "b", max_steps=1)
    assert all(torch.equal(a, b) for a, b in zip(clipped.parameters(), unclipped.parameters(), strict=True))


# ------------------------------------------------------------------ named in the settings


@pytest.mark.parametrize("name", ["AdamW", "Adam", "Adafactor", "RMSprop", "Adagrad", "NAdam", "RAdam", "SGD", "Rprop"])
def test_optimizers_of_torch_can_be_named(name: str) -> None:
    NamedOptimizer({"class_path": f"torch.optim.{name}", "init_args": {"lr": 1e-3}}).rehearse()


def test_what_needs_a_gpu_is_refused_without_one() -> None:
    named = NamedOptimizer({"class_path": "torch.optim.AdamW", "init_args": {"capturable": True}})
    with pytest.raises(InputError, match="capturable needs a GPU"):
        named.rehearse()
    named.rehearse(on_gpu=True)


def test_the_rates_are_logged(folder: Path, tmp_path: Path) -> None:
    logger = L.pytorch.loggers.CSVLogger(tmp_path)
    fit(ThreeGroups, folder, tmp_path, callbacks=[LearningRateMonitor("step")], logger=logger, max_epochs=1)
    header = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()[0]
    assert {"lr-SGD/pg1", "lr-SGD/pg2", "lr-SGD/pg3"} <= set(header.split(","))
