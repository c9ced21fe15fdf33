"""The progress bar: loss, perplexity, tokens per second."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar

_NAMES = {
    "train/loss": "loss",
    "train/perplexity": "perplexity",
    "train/tokens_per_second": "tokens/s",
    "val/perplexity": "val perplexity",
    "test/perplexity": "test perplexity",
    "test/base_perplexity": "untuned",
}


class ProgressBar(RichProgressBar):
    """Lightning's rich progress bar with the main metrics of a fine-tuning under short names."""

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        return {
            short: (f"{metrics[name]:,.0f}" if short == "tokens/s" else metrics[name])
            for name, short in _NAMES.items()
            if name in metrics
        }

    def on_predict_batch_end(self, trainer: L.Trainer, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        super().on_predict_batch_end(trainer, pl_module, *args, **kwargs)
        if self.progress is not None and self.predict_progress_bar_id is not None:
            text = f"{self.predict_description} ({pl_module.speed})"
            self.progress.update(self.predict_progress_bar_id, description=text)
