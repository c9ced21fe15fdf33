"""A run's settings for its loggers, beside its final metrics."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from lightning_med.training.scalar_layout import make_layout

_METRICS = ("val/perplexity", "val/loss", "val/bits_per_byte")
_SECTIONS = ("model", "data")
_TRAINER = ("precision", "max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val")


class HyperParameters(L.Callback):
    """Gives every logger the settings by their full names, for instance `model.lr`, once.

    TensorBoard also gets the names of the metrics, whose latest values its HPARAMS tab shows, and the charts of its
    tab CUSTOM SCALARS.
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        chosen = _list_settings(pl_module.resolve_settings())
        chosen["trainer.precision"] = str(trainer.precision)  # the one that runs: `16-mixed` becomes another on a CPU
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.hparams.update(chosen)  # for hparams.yaml; its own method would write a second summary
                writer = logger.experiment._get_file_writer()
                shown = {name: str(value) if value is None else value for name, value in chosen.items()}
                for summary in hparams(shown, dict.fromkeys(_METRICS, 0.0)):
                    writer.add_summary(summary)
                logger.experiment.add_custom_scalars(make_layout())
            else:
                logger.log_hyperparams(chosen)


def _list_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of all sections in one mapping, of values that a table can show."""
    chosen = {f"{part}.{key}": value for part in _SECTIONS for key, value in settings.get(part, {}).items()}
    chosen |= {f"trainer.{key}": settings.get("trainer", {}).get(key) for key in _TRAINER}
    simple = (bool, int, float, str, type(None))
    return {name: value if isinstance(value, simple) else str(value) for name, value in chosen.items()}
