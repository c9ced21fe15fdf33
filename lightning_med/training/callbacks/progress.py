"""The progress bar: steps of the whole fit, loss, perplexity, tokens per second."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.callbacks import ProgressBar as AnyProgressBar

from lightning_med.training.callbacks.plain_progress import PlainProgress
from lightning_med.utils.console import draws_bars

_NAMES = {
    "train/loss": "loss",
    "train/perplexity": "perplexity",
    "train/tokens_per_second": "tokens/s",
    "val/perplexity": "val perplexity",
    "test/perplexity": "test perplexity",
    "test/base_perplexity": "untuned",
}


class ProgressBar(RichProgressBar):
    """Lightning's rich progress bar with the main metrics of a fine-tuning under short names.

    In a fit it counts optimizer steps from the first to the last one, so that its time left is that of the whole fit.
    Where standard output draws no bars, it is disabled: `PlainProgress` prints lines there.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not draws_bars():
            self.disable()

    @property
    def total_train_batches(self) -> int | float:
        total: int | None = self.trainer.lightning_module.total_steps  # type: ignore[assignment]
        return float("inf") if total is None else total

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.train_progress_bar_id is None:
            super().on_train_epoch_start(trainer, pl_module)
        if self.progress is not None and self.train_progress_bar_id is not None:
            epochs = trainer.max_epochs or 0
            of = f"/{epochs}" if epochs > 0 and trainer.max_steps <= 0 else ""
            text = f"Epoch {trainer.current_epoch + 1}{of}, steps"
            self.progress.update(self.train_progress_bar_id, description=text, completed=trainer.global_step)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.train_progress_bar_id is None:  # an epoch that is resumed in its middle has no start
            self.on_train_epoch_start(trainer, pl_module)
        # It shows the index plus one as what is done.
        super().on_train_batch_end(trainer, pl_module, outputs, batch, trainer.global_step - 1)

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


def choose_progress(verb: str, configured: list[Callback], enabled: bool) -> list[Callback]:
    """Returns the callbacks that show progress, beside those of the settings that the verb keeps.

    A bar of the settings replaces ours, as a trainer takes only one.

    Args:
        verb: A fit keeps all callbacks of the settings, another verb none.
        configured: The callbacks of the settings.
        enabled: Whether a bar is wanted.
    """
    bars: list[Callback] = [one for one in configured if isinstance(one, AnyProgressBar)]
    if bars and verb == "fit":
        return [PlainProgress()]
    return [*((bars or [ProgressBar()]) if enabled else []), PlainProgress()]
