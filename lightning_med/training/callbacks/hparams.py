"""Hyperparameters in TensorBoard, beside a run's final metrics."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

_METRICS = ("val/perplexity", "val/loss", "val/bits_per_byte")
_SECTIONS = ("model", "data")


class HyperParameters(L.Callback):
    """Writes the settings and the names of the metrics once; the HPARAMS tab shows each metric's latest value."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        settings = pl_module.resolve_settings()
        chosen = {f"{part}.{key}": _flatten(v) for part in _SECTIONS for key, v in settings.get(part, {}).items()}
        for key in ("precision", "max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val"):
            chosen[f"trainer.{key}"] = _flatten(settings.get("trainer", {}).get(key))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                writer = logger.experiment._get_file_writer()
                for summary in hparams(chosen, dict.fromkeys(_METRICS, 0.0)):
                    writer.add_summary(summary)


def _flatten(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
