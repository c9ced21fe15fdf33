"""The benchmark of changes to the training step, and one row of the benchmark of growth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from lightning_med.data.batching import collate
from lightning_med.data.module import DialogueDataModule
from lightning_med.model.causal_lm import build_from_scratch, compute_nll

Script = Callable[[str], ModuleType]
pytest.importorskip("psutil")


def test_every_change_is_timed(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "changes.json"
    sizes = ["--layers", "1", "--width", "32", "--heads", "2", "--tokens", "512", "--rounds", "1"]
    module = script("benchmark_changes")
    assert module.main([*sizes, "--json", str(output)]) == 0
    found = json.loads(output.read_text())["seconds"]
    assert set(found) == set(module.CHANGES)
    assert all(seconds > 0 for seconds in found.values())


def test_taking_a_change_back_leaves_the_loss(script: Script) -> None:
    module = script("benchmark_changes")
    data = DialogueDataModule("sample", "train", vocab_size=512, system_prompt="", batch_tokens=512, max_length=256)
    words = data.prepared.tokenizer
    still = {"n_layer": 1, "n_embd": 32, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    network = build_from_scratch(still, len(words), words.eos_token_id, 0.0, seed=1)
    batch = collate.collate_flat(data.store("train"), data.plan_epoch(0)[0])
    losses = {}
    for name, change in module.CHANGES.items():
        with change(network):
            losses[name] = compute_nll(network, batch)[0].item()
    for name, loss in losses.items():
        assert loss == pytest.approx(losses["nothing"], rel=1e-4), name
    assert torch.isfinite(torch.tensor(list(losses.values()))).all()


@pytest.mark.slow
def test_growth_tells_an_epoch(
    script: Script,
    tokenizer: PreTrainedTokenizerFast,
    consultations: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, output = tmp_path / "words", tmp_path / "growth.json"
    tokenizer.save_pretrained(words)
    module = script("benchmark_growth")
    monkeypatch.setattr(module, "PLAN", [("ours", 1, 512)])
    sizes = ["--rows", "60", "--layers", "1", "--width", "32", "--heads", "2"]
    assert (
        module.main(["--data", str(consultations(60)), "--tokenizer", str(words), *sizes, "--json", str(output)]) == 0
    )
    (row,) = json.loads(output.read_text())
    assert (row["contender"], row["rows"], row["length"]) == ("ours", 60, 512)
    assert row["epoch_seconds"] > 0
