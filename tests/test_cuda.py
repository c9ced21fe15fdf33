"""Tests that need a GPU; skipped without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from lightning_med.data.batching.collate import collate_flat
from lightning_med.data.module import DialogueDataModule
from lightning_med.model import attention
from lightning_med.model.causal_lm import build_from_scratch, compute_nll
from tests import tiny
from tests.training.helpers import Steps

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
NETWORK = {**tiny.NETWORK, "n_embd": 64}  # heads of 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the table and its cache."""
    return tmp_path_factory.mktemp("cuda")


def fit(folder: Path, place: Path, precision: str, **changes: Any) -> tuple[Any, Steps]:
    steps = Steps()
    data = tiny.data_module(folder, **changes.pop("data", {}))
    L.seed_everything(7, verbose=False)
    model = tiny.language_model(from_scratch=NETWORK)
    trainer = tiny.trainer(place, accelerator="gpu", precision=precision, callbacks=[steps], **changes)
    trainer.fit(model, data)
    return model, steps


def test_loss_and_gradients_in_bfloat16_are_those_of_float32(folder: Path) -> None:
    data: DialogueDataModule = tiny.data_module(folder)
    batch = collate_flat(data.store("train"), data.plan_epoch(0)[0])
    moved = {name: value.cuda() if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
    results = {}
    for precision in (torch.float32, torch.bfloat16):
        network = build_from_scratch(NETWORK, 300, 0, 0.0, 1).cuda()
        with torch.autocast("cuda", dtype=precision, enabled=precision != torch.float32):
            total = compute_nll(network, moved)[0]
        (total / batch["answers"]).backward()
        gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        results[precision] = (float(total), gradients)
    exact, half = results[torch.float32], results[torch.bfloat16]
    assert half[0] == pytest.approx(exact[0], rel=5e-3)
    assert tiny.relative_l2(half[1], exact[1]) < 0.05


def test_the_varlen_kernel_is_used_where_the_gpu_has_it(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    if torch.cuda.get_device_capability() < (8, 0) or attention.find_varlen_kernel() is None:
        pytest.skip("this GPU or this torch has no such kernel")
    calls, real = [], attention.find_varlen_kernel()
    monkeypatch.setattr(attention, "find_varlen_kernel", lambda: lambda *args: calls.append(1) or real(*args))
    fit(folder, tmp_path, "bf16-mixed", max_steps=2)
    assert len(calls) == 2 * tiny.NETWORK["n_layer"]


@pytest.mark.parametrize("clip", [None, 0.1])
def test_fp16_with_clipping_and_accumulation_follows_float32(folder: Path, tmp_path: Path, clip: float | None) -> None:
    settings: dict[str, Any] = {"max_epochs": 2, "gradient_clip_val": clip, "accumulate_grad_batches": 2}
    exact, expected = fit(folder, tmp_path, "32-true", **settings)
    half, steps = fit(folder, tmp_path, "16-mixed", **settings)
    assert steps.rows == expected.rows
    assert tiny.relative_l2(tiny.weights(half), tiny.weights(exact)) < 0.05
    assert all(torch.isfinite(weight).all() for weight in half.state_dict().values())


def test_auto_finds_a_batch_that_fits(folder: Path, tmp_path: Path) -> None:
    model, _ = fit(folder, tmp_path, "16-mixed", max_steps=1, data={"batch_tokens": "auto"})
    assert 128 <= model.trainer.datamodule.batch_tokens <= 65_536
