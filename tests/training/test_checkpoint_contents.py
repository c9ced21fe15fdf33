"""A checkpoint is self-contained; data and networks that do not match it are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_med.data.module import DialogueDataModule
from lightning_med.data.preparation.cache import keys
from lightning_med.model.causal_lm import compute_nll
from lightning_med.training.module import DialogueLM
from lightning_med.utils.errors import InputError
from tests import tiny
from tests.training.helpers import evaluate, fit


def test_a_checkpoint_holds_tensors_and_plain_values_only(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)

    def is_plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(map(is_plain, value.keys())) and all(map(is_plain, value.values()))
        if isinstance(value, (list, tuple)):
            return all(map(is_plain, value))
        return value is None or isinstance(value, (Tensor, str, int, float, bool))

    assert all(is_plain(value) for value in content.values())


def test_a_checkpoint_contains_what_later_commands_need(checkpoint: Path, data: DialogueDataModule) -> None:
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
def test_data_that_does_not_match_the_checkpoint_is_refused(
    folder: Path, tmp_path: Path, checkpoint: Path, verb: str, change: dict[str, Any], named: str
) -> None:
    def run() -> None:
        if verb == "test":
            evaluate(folder, tmp_path, checkpoint, **change)
        else:
            fit(folder, tmp_path, change, ckpt_path=checkpoint, max_epochs=2)

    with pytest.raises(InputError, match=named):
        run()


def test_what_differs_in_the_data_is_named(
    folder: Path, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = keys.version
    monkeypatch.setattr(keys, "version", lambda name: version(name) + ".1" * (name == "pyarrow"))
    known = version("pyarrow")
    named = f"its data differs in library pyarrow ({known} there, {known}.1 here), val_fraction (0.1 there, 0.2 here)."
    with pytest.raises(InputError) as raised:
        fit(folder, tmp_path, {"val_fraction": 0.2}, ckpt_path=checkpoint, max_epochs=2)
    assert named in raised.value.what


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
