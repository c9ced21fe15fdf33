"""Contenders without another library's trainer: a plain loop in the manner of nanoGPT, and this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from training.clock import Clock
from training.rows import IGNORED, Rows, Work
from training.settings import CLIP, Settings


def train_loop(settings: Settings, clock: Clock) -> tuple[PreTrainedModel, str]:
    """Trains on blocks cut from the concatenated rows: attention crosses rows, and all tokens get logits.

    Returns:
        The trained network, and a description of the batches.
    """
    rows, device = settings.load_rows(), settings.device
    count = max(round(float(rows.lengths.mean()) * settings.batch / settings.length), 1)
    network = settings.load_network().to(device).train()  # type: ignore[arg-type]
    optimizer, schedule = settings.make_optimizer(network)
    # As in nanoGPT: compiled on a GPU, not on a CPU.
    forward: Any = torch.compile(network) if device.type == "cuda" else network
    precision = torch.autocast(device.type, dtype=settings.dtype) if settings.bf16 else nullcontext()
    batches = _make_blocks(rows, count, min(settings.length, (len(rows.ids) - 1) // count), settings.seed)
    for _ in range(settings.total):
        ids, targets, work = next(batches)
        ids, targets = (_move_tensor(tensor, device) for tensor in (ids, targets))
        with precision:
            logits = forward(input_ids=ids, use_cache=False).logits
            loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        clock.count_update(work)
    return network, f"{count} packed blocks of {settings.length}"


def _make_blocks(rows: Rows, count: int, size: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, Work]]:
    """Yields endless batches: token ids and the next token of each, both `[count, size]`, and the work."""
    random = np.random.default_rng(seed)
    while True:
        spans = [np.arange(rows.starts[row], rows.starts[row + 1]) for row in random.permutation(len(rows))]
        tokens = np.concatenate(spans)
        for start in range(0, len(tokens) - count * size, count * size):
            inputs = tokens[start : start + count * size]
            following = tokens[start + 1 : start + count * size + 1]
            shape = (count, size)
            ids, targets = rows.ids[inputs].reshape(shape), rows.labels[following].reshape(shape)
            yield torch.from_numpy(ids), torch.from_numpy(targets), rows.count_token_work(inputs)


def _move_tensor(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class UpdateCounter(L.Callback):
    """Reports each update to the clock."""

    def __init__(self, clock: Clock, rows: Rows) -> None:
        self.clock, self.rows = clock, rows

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.clock.count_update(self.rows.count_work(batch["rows"]))


def train_ours(settings: Settings, clock: Clock) -> tuple[PreTrainedModel, str]:
    """Trains as `lightning-med fit` does, without loggers and checkpoints.

    Returns:
        The trained network, and a description of the batches.

    Raises:
        RuntimeError: The token ids differ from those of the other contenders.
    """
    from lightning_med.training.module import DialogueLM
    from lightning_med.utils.console import silence_warnings
    from lightning_med.utils.memory.allocator import keep_freed_memory

    keep_freed_memory()
    silence_warnings()
    expected = settings.load_rows()
    # A batch ends before the row that would exceed its budget: on average half a row below it.
    budget = round(float(expected.lengths.mean()) * (settings.batch + 0.5))
    data = settings.make_data_module(budget)
    rows = Rows.from_store(data.store("train"))
    if rows.digest != expected.digest:
        raise RuntimeError("The token ids prepared here differ from those that the other contenders train on.")
    module = DialogueLM(base=str(settings.path / "start"), **settings.get_module_settings())
    trainer = L.Trainer(
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if settings.bf16 else "32-true",
        max_epochs=-1,
        max_steps=settings.total,
        gradient_clip_val=CLIP,
        log_every_n_steps=10,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[UpdateCounter(clock, rows)],
        default_root_dir=settings.path,
    )
    trainer.fit(module, datamodule=data)
    return module.network, f"flat batches of {data.batch_tokens:,} tokens"
