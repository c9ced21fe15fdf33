"""A run's settings, in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from lightning_med.checkpoints.run_folder import SETTINGS
from lightning_med.utils.files import write_text


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` once the data and the model are there, so that a run that never began leaves no folder."""

    run: Path | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        pass

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and self.run is not None:
            text = yaml.safe_dump(pl_module.settings, sort_keys=False, allow_unicode=True, width=120)
            write_text(self.run / SETTINGS, text)
