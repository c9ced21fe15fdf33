"""A run's settings, saved in its folder as `config.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from lightning_med.checkpoints.run_folder import SETTINGS, format_origin, read_origin
from lightning_med.utils.files import write_text


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` before the first step, so that a run that never started leaves no folder."""

    run: Path | None = None
    origin = ""

    def use_run(self, run: Path | None, origin: str) -> None:
        """Sets where and what to write.

        Args:
            run: The run's folder; without one nothing is written.
            origin: The config file of the call. That of a run which is continued stays.
        """
        self.run = run
        self.origin = origin if run is None else read_origin(run) or origin

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Does nothing: Lightning would save here, before the data is there."""

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and self.run is not None:
            text = yaml.safe_dump(pl_module.resolve_settings(), sort_keys=False, allow_unicode=True, width=120)
            write_text(self.run / SETTINGS, format_origin(self.origin) + text)
