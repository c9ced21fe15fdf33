"""The forecast of a fit's memory: its parts, its sum, and the warning."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_med.data.batching.collate import collate_flat
from lightning_med.model.causal_lm import build_from_scratch
from lightning_med.training import batch_size
from lightning_med.training.batch_size import StepMemory, measure_step
from lightning_med.training.callbacks import forecast
from lightning_med.training.callbacks.forecast import Forecast
from tests import tiny

CPU = torch.device("cpu")
GIB = 1 << 30
LLAMA = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip


@pytest.mark.parametrize("fields", [tiny.NETWORK, LLAMA], ids=["gpt2", "llama"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_a_real_batch_keeps_follows_from_three_short_passes(
    tmp_path: Path, fields: dict[str, Any], precision: str
) -> None:
    """Of consultations of any lengths; the probe has some of two lengths."""
    network = build_from_scratch(fields, 300, 0, 0.0, 1)
    context = (lambda: torch.autocast("cpu", torch.bfloat16)) if precision == "bfloat16" else nullcontext
    step = measure_step(network, CPU, context, 128)
    store = tiny.data_module(tmp_path).store("train")
    rows = np.arange(20)
    batch = collate_flat(store, rows)
    lengths = store.lengths[rows].astype(np.int64)
    size = 2 if precision == "bfloat16" else 4
    head = network.get_output_embeddings().weight.numel() * 2 * size  # alive with the logits, not kept
    expected = step.fixed + step.per_token * int(lengths.sum()) + step.per_square * int((lengths**2).sum())
    kept = batch_size._count_kept(network, batch, context)
    assert expected / batch_size._SCATTER - head == pytest.approx(kept, rel=0.08)


def test_a_network_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, passes = build_from_scratch(tiny.NETWORK, 300, 0, 0.0, 1), []
    count = batch_size._count_kept
    monkeypatch.setattr(batch_size, "_count_kept", lambda *arguments: passes.append(1) or count(*arguments))
    batch_size.measure_budget(network, CPU, nullcontext, 128)
    before = len(passes)
    measure_step(network, CPU, nullcontext, 128)
    assert len(passes) == before > 0


def test_a_step_needs_the_pass_or_the_gradients_and_both_where_they_add_up() -> None:
    step = StepMemory(fixed=1000, per_token=10, per_square=1, per_position=100, gradients=50_000)
    assert step.estimate(20, 200) == 50_000
    assert step.estimate(20, 200, accumulates=True) == 50_000 + 1000 + 200 + 200 + 2000
    assert step.estimate(4096, 10_000) == 1000 + 40_960 + 10_000 + 100 * 2048  # one chunk of logits


class Estimates(Forecast):
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_start(trainer, pl_module)
        self.network = pl_module.network
        self.held, self.more = forecast.estimate_memory(trainer, pl_module)


def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resident: int, free: int, **changes: Any) -> Estimates:
    estimates = Estimates()
    monkeypatch.setattr(forecast, "read_resident_memory", lambda: resident)
    monkeypatch.setattr(forecast, "measure_free_memory", lambda device: free)
    monkeypatch.setattr(forecast, "measure_step", lambda *_: StepMemory(GIB, 1024, 0, 0, 1000))
    trainer = tiny.trainer(tmp_path, callbacks=[estimates], max_steps=1, **changes)
    trainer.fit(tiny.language_model(), tiny.data_module(tmp_path))
    return estimates


def test_the_whole_process_is_forecast_in_one_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is held, AdamW's two averages, and a step with the largest batch."""
    estimates = fit(tmp_path, monkeypatch, 2 * GIB, 100 * GIB)
    data = tiny.data_module(tmp_path)
    tokens = max(int(data.store("train").lengths[rows].sum()) for rows in data.plan_epoch(0))
    weights = sum(weight.numel() for weight in estimates.network.parameters())
    assert estimates.held == 2 * GIB
    assert estimates.more == 8 * weights + GIB + 1024 * tokens + forecast._OVERHEAD
    out = capsys.readouterr().out
    assert "about 3.1 GiB of memory in all, with 512 tokens a batch" in out
    assert "are free" not in out


def test_a_fit_that_needs_more_than_is_free_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path, monkeypatch, 2 * GIB, GIB // 2)
    assert "Only 0.5 GiB more are free, and 1.1 are needed: give a smaller" in capsys.readouterr().out
