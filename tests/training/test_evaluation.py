"""The results of `test` and `validate` of DialogueLM."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lightning_med.data.module import DialogueDataModule
from lightning_med.model.causal_lm import build_from_scratch, compute_nll
from lightning_med.tokenization.consultation import ANSWER
from lightning_med.training import module
from lightning_med.training.module import DialogueLM
from lightning_med.utils.errors import InputError, UnavailableError
from tests import tiny
from tests.training.helpers import SEED, evaluate


def test_perplexity_does_not_depend_on_the_batches(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    results = [evaluate(folder, tmp_path, checkpoint, batch_tokens=tokens) for tokens in (512, 4096)]
    results.append(evaluate(folder, tmp_path, checkpoint, batch_tokens=1024, pad_to_max_length=True))
    for name, value in results[0].items():
        assert results[1][name] == pytest.approx(value, rel=1e-6)
        assert results[2][name] == pytest.approx(value, rel=1e-5)


def test_perplexity_equals_that_of_a_plain_forward_pass(
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


def test_the_untuned_base_is_evaluated_on_the_same_rows(
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


def test_validation_has_no_results_of_the_base(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    results = evaluate(folder, tmp_path, checkpoint, "validate")
    assert set(results) == {f"val/{name}" for name in ("loss", "perplexity", "bits_per_byte", "tokens")}


def test_a_base_that_is_out_of_reach_leaves_out_the_comparison_alone(
    folder: Path, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object) -> None:
        raise UnavailableError("gone/base: the Hub has no such public repository.", "Check the name.")

    expected = evaluate(folder, tmp_path, checkpoint)
    monkeypatch.setattr(module, "start_network", fail)
    results = evaluate(folder, tmp_path, checkpoint, model=make_model(checkpoint))
    assert results["test/perplexity"] == pytest.approx(expected["test/perplexity"], rel=1e-6)
    assert "test/base_perplexity" not in results
    assert "no comparison with the base" in capsys.readouterr().out


def test_any_other_error_of_the_base_is_an_error(
    folder: Path, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a tokenizer that the base does not know: the checkpoint's network must not stand in for it in silence."""

    def fail(*args: object) -> None:
        raise InputError("The tokenizer has 300 tokens, the base knows 200.", "Take the base's own.")

    monkeypatch.setattr(module, "start_network", fail)
    with pytest.raises(InputError, match="300 tokens"):
        evaluate(folder, tmp_path, checkpoint, model=make_model(checkpoint))


def make_model(checkpoint: Path) -> DialogueLM:
    """Returns a model that knows its checkpoint, as the command makes it."""
    model = tiny.language_model()
    model.use_run({}, str(checkpoint))
    return model


class OtherData(L.LightningDataModule):
    """A data module of the user's own."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.train_dataloader = self.val_dataloader = self.predict_dataloader = lambda: data


@pytest.mark.parametrize("verb", ["fit", "validate", "predict"])
@pytest.mark.parametrize("own", [False, True])
def test_other_data_than_a_dialogue_data_module_is_refused(tmp_path: Path, verb: str, own: bool) -> None:
    loader: Any = torch.utils.data.DataLoader([{"input_ids": torch.zeros(4)}])
    name = "train_dataloaders" if verb == "fit" else "dataloaders"
    given = {"datamodule": OtherData(loader)} if own else {name: loader}
    with pytest.raises(InputError, match="DialogueDataModule") as raised:
        getattr(tiny.trainer(tmp_path), verb)(tiny.language_model(), **given)
    assert ("OtherData" if own else "none") in raised.value.what
