"""A run's settings, saved in its folder as `config.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from lightning_med.checkpoints.run_folder import SETTINGS
from lightning_med.utils.files import write_text


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` once the data and the network exist, so that a run that never started leaves no folder."""

    run: Path | None = None

    def use_run(self, run: Path | None) -> None:
        """Sets the run's folder; without one nothing is written."""
        self.run = run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Does nothing: Lightning would save here, before the data is there."""

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and self.run is not None:
            text = yaml.safe_dump(pl_module.resolve_settings(), sort_keys=False, allow_unicode=True, width=120)
            write_text(self.run / SETTINGS, text)
