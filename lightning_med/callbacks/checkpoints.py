"""Checkpoints: the best by validation perplexity and the last step, each whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_med.files import whole


class BestCheckpoint(ModelCheckpoint):
    """Keeps `checkpoints/best-STEP-PERPLEXITY.ckpt`, the lowest validation perplexity so far."""

    def __init__(self) -> None:
        super().__init__(
            filename="best-{step}-{val/perplexity:.2f}",
            monitor="val/perplexity",
            mode="min",
            auto_insert_metric_name=False,  # the metric's name holds a slash
        )


class LastCheckpoint(ModelCheckpoint):
    """Keeps `checkpoints/last.ckpt`, at the end of a fit always its last step.

    Args:
        every_n_train_steps: Also save each so many optimizer steps; default once an epoch.
    """

    def __init__(self, every_n_train_steps: int | None = None) -> None:
        super().__init__(filename="last", every_n_train_steps=every_n_train_steps, enable_version_counter=False)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        # Once the fit has ended the trainer counts this epoch as done, and going on would skip what is left of it.
        if trainer.global_step == trainer.max_steps and self._last_global_step_saved != trainer.global_step:
            self.save_now(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        if self._last_global_step_saved != trainer.global_step:
            self.save_now(trainer)

    def saved(self, trainer: L.Trainer) -> Path:
        """Where this step is saved; saves it if it is not."""
        if self._last_global_step_saved != trainer.global_step:
            return self.save_now(trainer)
        return Path(str(self.dirpath)) / f"last{self.FILE_EXTENSION}"

    def save_now(self, trainer: L.Trainer) -> Path:
        """Saves the state as it is between two steps, and returns where."""
        path = Path(str(self.dirpath)) / f"last{self.FILE_EXTENSION}"
        trainer.save_checkpoint(path)
        self._last_global_step_saved = trainer.global_step
        return path


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final name, syncs it, and renames it: a crash leaves the earlier one whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with whole(Path(path)) as temporary:
            torch.save(checkpoint, temporary)
