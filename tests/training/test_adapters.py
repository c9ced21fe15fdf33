"""Adapters and frozen weights with a trainer of one's own: loaded, trained on, tested, averaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

from lightning_med.model.causal_lm import build_from_scratch
from lightning_med.training.callbacks.checkpoints import Checkpoints
from lightning_med.training.module import DialogueLM
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.training.helpers import evaluate, fit


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / "llama"
    build_from_scratch({"model_type": "llama", **tiny.LLAMA}, 300, 0, 0.0, seed=3).save_pretrained(folder)
    return folder


def adapted(base: Path, **changes: Any) -> dict[str, Any]:
    return {"from_scratch": None, "base": str(base), "lora": {"r": 4}, "lr": 0.01, **changes}


def fit_adapter(folder: Path, tmp_path: Path, base: Path, **changes: Any) -> tuple[DialogueLM, Path]:
    model, _ = fit(folder, tmp_path, model=adapted(base, **changes), callbacks=[Checkpoints()])
    return model, next(tmp_path.rglob("last.ckpt"))


@pytest.mark.parametrize("lora", [{"r": 4}, {"r": 4, "dora": True}, {"r": 4, "rslora": True, "embeddings": True}])
def test_a_loaded_adapter_is_that_of_the_fit(folder: Path, tmp_path: Path, base: Path, lora: dict[str, Any]) -> None:
    model, checkpoint = fit_adapter(folder, tmp_path, base, lora=lora)
    loaded = DialogueLM.load_from_checkpoint(checkpoint)
    state = loaded.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.network.state_dict().items())
    expected = evaluate(folder, tmp_path, checkpoint, model=tiny.language_model(**adapted(base, lora=lora)))
    assert expected["test/loss"] < expected["test/base_loss"]
    again = evaluate(folder, tmp_path, checkpoint, model=loaded)
    assert again["test/loss"] == pytest.approx(expected["test/loss"], rel=1e-6)


@pytest.mark.parametrize("settings", [{"lora": {"r": 4}}, {"lora": None, "freeze": ["*.layers.0.*"]}])
def test_a_loaded_module_trains_what_its_settings_say(
    folder: Path, tmp_path: Path, base: Path, settings: dict[str, Any]
) -> None:
    settings = {**settings, "gradient_checkpointing": True}
    _, checkpoint = fit_adapter(folder, tmp_path, base, **settings)
    loaded = DialogueLM.load_from_checkpoint(checkpoint)
    before = {name: weight.clone() for name, weight in loaded.network.named_parameters()}
    tiny.trainer(tmp_path).fit(loaded, tiny.data_module(folder))
    assert any(getattr(module, "gradient_checkpointing", False) for module in loaded.network.modules())
    for name, weight in loaded.network.named_parameters():
        trained = ".lora_" in name if settings["lora"] else "layers.0." not in name
        assert torch.equal(weight, before[name]) != trained, name


def test_another_scale_is_refused_when_a_loaded_adapter_reads_another_checkpoint(
    folder: Path, tmp_path: Path, base: Path
) -> None:
    _, one = fit_adapter(folder, tmp_path / "one", base)
    _, other = fit_adapter(folder, tmp_path / "other", base, lora={"r": 4, "alpha": 1})
    with pytest.raises(InputError, match="trained with alpha 1"):
        evaluate(folder, tmp_path, other, model=DialogueLM.load_from_checkpoint(one))


def test_averaging_callbacks_are_refused(folder: Path, tmp_path: Path, base: Path) -> None:
    with pytest.raises(InputError, match="averages weights"):
        fit(folder, tmp_path, model=adapted(base), callbacks=[EMAWeightAveraging()])


class WithMore(DialogueLM):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.more = nn.Linear(2, 2)


def test_further_modules_of_a_subclass_are_saved(folder: Path, tmp_path: Path, base: Path) -> None:
    model = WithMore(max_new_tokens=4, **adapted(base))
    tiny.trainer(tmp_path, callbacks=[Checkpoints()]).fit(model, tiny.data_module(folder))
    loaded = WithMore.load_from_checkpoint(next(tmp_path.rglob("last.ckpt")))
    assert torch.equal(loaded.more.weight, model.more.weight)


def test_a_trained_network_is_not_taken_for_the_untuned_one(folder: Path, tmp_path: Path, base: Path) -> None:
    model, checkpoint = fit_adapter(folder, tmp_path, base)
    tiny.trainer(tmp_path).test(model, tiny.data_module(folder), ckpt_path=checkpoint, verbose=False, weights_only=True)
    assert "test/loss" in model.results
    assert "test/base_loss" not in model.results
