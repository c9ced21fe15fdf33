"""Contenders without another library's trainer: a plain loop in nanoGPT's manner, and ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from training.rows import IGNORED, Rows, Share
from training.setting import CLIP, Clock, Setting


def loop(setting: Setting, clock: Clock) -> tuple[PreTrainedModel, str]:
    """Blocks cut from all rows laid end to end; attention runs across them, logits are made for every place."""
    rows, device = setting.rows(), setting.device
    count = max(round(float(rows.lengths.mean()) * setting.batch / setting.length), 1)
    network = setting.network().to(device).train()  # type: ignore[arg-type]
    optimizer, schedule = setting.optimizer(network)
    # As nanoGPT: compiled on a GPU, not on a processor.
    forward: Any = torch.compile(network) if device.type == "cuda" else network
    precision = torch.autocast(device.type, dtype=setting.dtype) if setting.bf16 else nullcontext()
    batches = _blocks(rows, count, min(setting.length, (len(rows.ids) - 1) // count), setting.seed)
    for _ in range(setting.total):
        ids, targets, share = next(batches)
        ids, targets = (_moved(tensor, device) for tensor in (ids, targets))
        with precision:
            logits = forward(input_ids=ids, use_cache=False).logits
            loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        clock.tick(share)
    return network, f"{count} packed blocks of {setting.length}"


def _blocks(rows: Rows, count: int, size: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, Share]]:
    """Batches `[count, size]` without end: ids, the targets one place on, and what is learned there."""
    random = np.random.default_rng(seed)
    while True:
        spans = [np.arange(rows.starts[row], rows.starts[row + 1]) for row in random.permutation(len(rows))]
        tokens = np.concatenate(spans)
        for start in range(0, len(tokens) - count * size, count * size):
            seen = tokens[start : start + count * size]
            after = tokens[start + 1 : start + count * size + 1]
            shape = (count, size)
            ids, targets = rows.ids[seen].reshape(shape), rows.labels[after].reshape(shape)
            yield torch.from_numpy(ids), torch.from_numpy(targets), rows.share_of(seen)


def _moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class Ticks(L.Callback):
    """Moves the clock at each update's end."""

    def __init__(self, clock: Clock, rows: Rows) -> None:
        self.clock, self.rows = clock, rows

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.clock.tick(self.rows.share(batch["rows"]))


def ours(setting: Setting, clock: Clock) -> tuple[PreTrainedModel, str]:
    """`lightning-med fit`, its loggers and checkpoints off."""
    from lightning_med.training.module import DialogueLM
    from lightning_med.utils.allocator import keep_freed_memory
    from lightning_med.utils.console import silence_warnings

    keep_freed_memory()
    silence_warnings()
    given = setting.rows()
    # A plan's batch ends before the row that would not fit: half a row less than its budget.
    budget = round(float(given.lengths.mean()) * (setting.batch + 0.5))
    data = setting.data_module(budget)
    rows = Rows.of(data.store("train"))
    if rows.digest != given.digest:
        raise RuntimeError("the ids prepared here are not those that the others were given")
    module = DialogueLM(base=str(setting.path / "start"), **setting.module_settings())
    trainer = L.Trainer(
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if setting.bf16 else "32-true",
        max_epochs=-1,
        max_steps=setting.total,
        gradient_clip_val=CLIP,
        log_every_n_steps=10,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[Ticks(clock, rows)],
        default_root_dir=setting.path,
    )
    trainer.fit(module, datamodule=data)
    return module.network, f"flat batches of {data.batch_tokens:,} tokens"
